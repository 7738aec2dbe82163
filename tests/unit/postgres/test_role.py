"""The SQL of the least privileged role; that it suffices is shown on real servers."""

import pytest

from holdfast.postgres.role import minimum_role_sql


@pytest.mark.parametrize(
    ("major", "functions"),
    [
        (14, ["pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)"]),
        (15, ["pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"]),
        (18, ["pg_backup_start(text, boolean)", "pg_backup_stop(boolean)"]),
    ],
)
def test_functions_have_the_names_of_the_version(major, functions):
    lines = minimum_role_sql("holdfast", major).splitlines()
    assert lines[0] == 'CREATE ROLE "holdfast" LOGIN REPLICATION;'
    assert lines[1:3] == [f'GRANT EXECUTE ON FUNCTION pg_catalog.{name} TO "holdfast";' for name in functions]
    assert lines[3:] == ['GRANT pg_read_all_settings, pg_read_all_stats TO "holdfast";']


def test_name_is_quoted():
    assert '"a""b; DROP"' in minimum_role_sql('a"b; DROP', 15)
