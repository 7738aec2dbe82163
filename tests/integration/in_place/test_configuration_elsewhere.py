"""A configuration outside the data directory, as on Debian: what could only stop the server is refused beforehand."""

import subprocess

from tests.integration.in_place.services import owner
from tests.integration.in_place.test_refusals import refused


def test_a_server_that_pg_ctl_cannot_start_again_is_not_stopped(service):
    (service.data / "postgresql.conf").rename(service.place / "postgresql.conf")
    assert "postgresql.conf lies elsewhere" in refused(service, 2, "--yes")
    assert "postgresql.conf lies elsewhere" in refused(service, 2, "--dry-run")


def test_a_configuration_that_names_its_data_directory_does_not_start_what_is_in_service(service):
    with (service.data / "postgresql.conf").open("a") as file:
        file.write(f"data_directory = '{service.data}'\n")
    service.stack.backup()
    service.sql("CREATE TABLE since AS SELECT 1 AS id")
    copy = service.place / "copy"
    service.stack.succeed("restore", "db", "--target", copy)
    asked = [str(service.binaries.program("postgres")), "-D", str(copy), "-C", "data_directory"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/", **owner().child_identity())
    assert answer.stdout.strip() == str(copy)
    service.stop()  # else its lock would keep it from a second start
    control = (service.data / "global" / "pg_control").read_bytes()

    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT to_regclass('since') IS NULL")
    (kept,) = service.checkpoints
    assert (kept / "global" / "pg_control").read_bytes() == control
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT id FROM since") == 1


def test_what_lies_behind_links_is_kept_for_an_undo_and_restored_without_them(service):
    """Nothing may be written through them: an undo brings the cluster back that they lead to."""
    service.stop()
    etc = service.place / "etc"
    etc.mkdir()
    for name in ("postgresql.conf", "base"):
        (service.data / name).rename(etc / name)
        (service.data / name).symlink_to(etc / name)
    owner().take_over(etc)
    service.start()
    service.stack.backup()
    service.sql("CREATE TABLE since AS SELECT 1 AS id")
    configuration = (etc / "postgresql.conf").read_bytes()
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT to_regclass('since') IS NULL")
    assert not (service.data / "base").is_symlink()
    assert (etc / "postgresql.conf").read_bytes() == configuration
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT id FROM since") == 1
    assert (etc / "postgresql.conf").read_bytes() == configuration
