"""A configuration outside the data directory, as on Debian: what could only stop the server is refused beforehand."""

from tests.integration.in_place.test_refusals import refused


def test_a_server_that_pg_ctl_cannot_start_again_is_not_stopped(service):
    (service.data / "postgresql.conf").rename(service.place / "postgresql.conf")
    assert "postgresql.conf lies elsewhere" in refused(service, 2, "--yes")
    assert "postgresql.conf lies elsewhere" in refused(service, 2, "--dry-run")
