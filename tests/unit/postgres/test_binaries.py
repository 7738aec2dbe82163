"""Finding installations by what their server says of itself."""

import pytest

from holdfast.errors import ServerError
from holdfast.postgres.binaries import binaries_in, find_binaries, list_binaries


def install(directory, answer, *programs):
    directory.mkdir(parents=True)
    for name, text in [("postgres", f"echo '{answer}'"), *((program, "true") for program in programs)]:
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return directory


def test_version_is_what_the_server_says(tmp_path):
    directory = install(tmp_path / "bin", "postgres (PostgreSQL) 16.4 (Debian 16.4-1)", "initdb")
    found = binaries_in(directory)
    assert (found.directory, found.version, found.major) == (directory, "16.4", 16)
    assert found.program("initdb") == directory / "initdb"
    assert not found.has_program("pg_amcheck")
    with pytest.raises(ServerError, match="has no pg_amcheck") as caught:
        found.program("pg_amcheck")
    assert "16" in caught.value.hint


def test_development_versions_have_a_major_version_too(tmp_path):
    assert binaries_in(install(tmp_path / "bin", "postgres (PostgreSQL) 18beta1")).major == 18


@pytest.mark.parametrize("answer", ["", "postgres (EnterpriseDB) 15.1", "something else"])
def test_what_does_not_answer_as_postgresql_is_none(tmp_path, answer):
    assert binaries_in(install(tmp_path / "bin", answer)) is None


def test_places_without_a_server_are_passed_over(tmp_path):
    (tmp_path / "postgres").write_text("not executable")
    assert binaries_in(tmp_path) is None
    assert binaries_in(tmp_path / "absent") is None


def test_the_configured_directory_comes_first_and_each_installation_once(tmp_path, monkeypatch):
    first = install(tmp_path / "first", "postgres (PostgreSQL) 14.9")
    second = install(tmp_path / "second", "postgres (PostgreSQL) 14.1")
    (tmp_path / "link").symlink_to(first)
    monkeypatch.setenv("PATH", f"{second}:{tmp_path / 'link'}")
    assert find_binaries(14, first).version == "14.9"
    assert find_binaries(14).version == "14.1"
    assert [b.version for b in list_binaries(first) if b.major == 14] == ["14.9", "14.1"]
    assert find_binaries(9, first) is None
