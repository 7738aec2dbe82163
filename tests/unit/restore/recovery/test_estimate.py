"""Estimates: from what was measured here, else from defaults that are said to be such."""

from holdfast.restore.recovery.estimate import Rates, keep_replay_rate, keep_restore_rate, load_rates


def test_without_a_measurement_there_are_defaults(tmp_path):
    rates = load_rates(tmp_path)
    assert not rates.is_measured
    assert rates.seconds(0, 0) < rates.seconds(10**9, 0) < rates.seconds(10**9, 10**9)


def test_what_was_measured_counts_from_then_on(tmp_path):
    cache = tmp_path / "cache"
    keep_restore_rate(cache, 10**9, 2.0)
    keep_replay_rate(cache, 3 * 10**8, 10.0)
    rates = load_rates(cache)
    assert (rates.restore_bytes_s, rates.replay_bytes_s, rates.is_measured) == (5 * 10**8, 3 * 10**7, True)


def test_a_run_too_short_to_tell_is_not_kept(tmp_path):
    keep_restore_rate(tmp_path, 10**9, 0.1)
    keep_replay_rate(tmp_path, 0, 10.0)
    keep_replay_rate(tmp_path, 200, 1.5)  # a snapshot's own WAL: by that rate, the next recovery would take weeks
    assert load_rates(tmp_path) == Rates()


def test_a_cache_that_cannot_be_read_or_written_is_no_error(tmp_path):
    (tmp_path / "rates.json").write_text("{")
    assert load_rates(tmp_path) == Rates()
    (tmp_path / "file").touch()
    keep_restore_rate(tmp_path / "file", 10**9, 2.0)
