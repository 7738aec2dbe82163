"""What each path of a data directory is, and what a backup leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.postgres.datadir import FileKind, Fork, RelationFile, classify, left_out

TABLESPACE = b"pg_tblspc/16385/PG_15_202209061"


@pytest.mark.parametrize(
    ("path", "relation"),
    [
        (b"base/5/1259", RelationFile(1259, Fork.MAIN, 0)),
        (b"base/5/1259.1", RelationFile(1259, Fork.MAIN, 1)),
        (b"base/5/1259_fsm", RelationFile(1259, Fork.FREE_SPACE_MAP, 0)),
        (b"base/5/1259_vm.12", RelationFile(1259, Fork.VISIBILITY_MAP, 12)),
        (b"base/5/16400_init", RelationFile(16400, Fork.INIT, 0)),
        (b"global/1260", RelationFile(1260, Fork.MAIN, 0)),
        (TABLESPACE + b"/5/16390.2", RelationFile(16390, Fork.MAIN, 2)),
        (b"pg_tblspc/16385/PG_9.6_201608131/5/16390", RelationFile(16390, Fork.MAIN, 0)),
    ],
)
def test_relation_files_are_told_by_node_fork_and_segment(path, relation):
    role = classify(path)
    assert (role.kind, role.relation) == (FileKind.RELATION, relation)
    assert role.has_page_checksums


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"global/pg_control", FileKind.CONTROL),
        (b"base/5/pg_control", FileKind.OTHER),
        (b"pg_wal/000000010000000000000001", FileKind.WAL),
        (b"pg_wal/archive_status/000000010000000000000001.ready", FileKind.WAL),
        (b"pg_xact/0000", FileKind.SLRU),
        (b"pg_multixact/offsets/0000", FileKind.SLRU),
        (b"pg_commit_ts/0000", FileKind.SLRU),
        (b"pg_notify/0000", FileKind.EXCLUDED_CONTENTS),
        (b"pg_replslot/one/state", FileKind.EXCLUDED_CONTENTS),
        (b"pg_subtrans/0000", FileKind.EXCLUDED_CONTENTS),
        (b"pg_stat_tmp/global.stat", FileKind.EXCLUDED_CONTENTS),
        (b"pg_dynshmem/mmap.1", FileKind.EXCLUDED_CONTENTS),
        (b"pg_serial/0000", FileKind.EXCLUDED_CONTENTS),
        (b"pg_snapshots/00000003-0000001B-1", FileKind.EXCLUDED_CONTENTS),
        (b"pg_notify", FileKind.OTHER),
        (b"pg_stat/pgstat.stat", FileKind.OTHER),
        (b"pg_logical/replorigin_checkpoint", FileKind.OTHER),
        (b"pg_twophase/00000301", FileKind.OTHER),
        (b"postmaster.pid", FileKind.EXCLUDED),
        (b"postmaster.opts", FileKind.EXCLUDED),
        (b"backup_label", FileKind.EXCLUDED),
        (b"backup_label.old", FileKind.OTHER),
        (b"tablespace_map", FileKind.EXCLUDED),
        (b"backup_manifest", FileKind.EXCLUDED),
        (b"postgresql.auto.conf", FileKind.OTHER),
        (b"postgresql.auto.conf.tmp", FileKind.EXCLUDED),
        (b"current_logfiles", FileKind.OTHER),
        (b"current_logfiles.tmp", FileKind.EXCLUDED),
        (b"global/pg_internal.init", FileKind.EXCLUDED),
        (b"base/5/pg_internal.init.4711", FileKind.EXCLUDED),
        (b"base/pgsql_tmp/pgsql_tmp4711.0", FileKind.EXCLUDED),
        (TABLESPACE + b"/pgsql_tmp/pgsql_tmp4711.0.sharedfileset/0.0", FileKind.EXCLUDED),
        (b"base/5/t3_16400", FileKind.EXCLUDED),
        (b"base/5/t3_16400_fsm.1", FileKind.EXCLUDED),
        (TABLESPACE + b"/5/t12_16400_vm", FileKind.EXCLUDED),
        (b"t3_16400", FileKind.OTHER),
        (b"base/5/t3_16400_old", FileKind.OTHER),
        (b"base/5/PG_VERSION", FileKind.OTHER),
        (b"global/pg_filenode.map", FileKind.OTHER),
        (b"base/5/01259", FileKind.OTHER),
        (b"base/5/1259.0", FileKind.OTHER),
        (b"base/5/1259_main", FileKind.OTHER),
        (b"base/1259", FileKind.OTHER),
        (b"1259", FileKind.OTHER),
        (b"pg_tblspc/16385/5/1259", FileKind.OTHER),
        (b".DS_Store", FileKind.EXCLUDED),
        (b"log/postgresql-\xc3\xa4.log", FileKind.OTHER),
    ],
)
def test_other_files_are_told_by_their_place(path, kind):
    assert classify(path).kind is kind
    assert not classify(path).has_page_checksums


def test_of_unlogged_relations_only_the_init_fork_stays():
    names = [b"16400", b"16400.1", b"16400_init", b"16400_fsm", b"16400_vm", b"164000", b"16401", b"PG_VERSION"]
    unlogged = {b"16400", b"16400.1", b"16400_fsm", b"16400_vm"}
    assert left_out(b"base/5", names) == unlogged
    assert left_out(TABLESPACE + b"/5", names) == unlogged
    assert left_out(b"global", names) == frozenset()
    assert left_out(b"base/5", set(names) - {b"16400_init"}) == frozenset()


def test_names_in_the_data_directory_itself():
    assert left_out(b"", [b"postmaster.pid", b"PG_VERSION", b"pg_notify", b"base"]) == {b"postmaster.pid"}
    assert left_out(b"pg_notify", [b"0000"]) == {b"0000"}


@given(st.integers(1, 2**32 - 1), st.sampled_from(list(Fork)), st.integers(0, 32767))
def test_any_relation_name_reads_back(node, fork, segment):
    name = str(node) + (f"_{fork.value}" if fork.value else "") + (f".{segment}" if segment else "")
    assert classify(b"base/1/" + name.encode()).relation == RelationFile(node, fork, segment)


@given(st.binary(max_size=60))
def test_every_path_is_something(path):
    assert classify(path).kind in FileKind
