"""What is read out of a server's log."""

from holdfast.services.postgres.recovery.words import ending_words, settings_too_low, stopping_line, telling_lines

PREFIX = "2026-11-20 14:03:00.000 UTC [4711] "


def log(*lines: str) -> str:
    return "".join(f"{PREFIX}{line}\n" for line in lines)


def test_the_reason_for_a_halt():
    text = log("LOG:  redo starts at 0/2000028", "LOG:  recovery stopping after reaching consistency", "LOG:  pausing")
    assert stopping_line(text) == "recovery stopping after reaching consistency"
    assert stopping_line(log("LOG:  redo starts at 0/2000028")) == ""


def test_settings_that_are_too_low():
    words = "is a lower setting than on the primary server, where its value was"
    text = log(
        "FATAL:  recovery aborted because of insufficient parameter settings",
        f"DETAIL:  max_connections = 10 {words} 100.",
        f"DETAIL:  max_connections = 100 {words} 300.",
        f"DETAIL:  max_worker_processes = 8 {words} 9.",
    )
    assert settings_too_low(text) == {"max_connections": "300", "max_worker_processes": "9"}
    assert settings_too_low(log("LOG:  redo starts at 0/2000028")) == {}


def test_last_words():
    text = log("FATAL:  could not load library", "LOG:  startup process exited", "FATAL:  the end")
    assert ending_words(text) == "the end"
    assert ending_words("") == ""


def test_lines_that_explain_are_told_from_what_is_ordinary():
    text = log(
        "LOG:  starting PostgreSQL 15.18",
        'LOG:  restored log file "000000010000000000000003" from archive',
        "LOG:  invalid record length at 0/3000060: wanted 24, got 0",
        "DETAIL:  more",
    )
    assert telling_lines(text) == ("invalid record length at 0/3000060: wanted 24, got 0", "more")
