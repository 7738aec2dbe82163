"""A parent that is damaged or gone, by replication: it is said, chunk ids decide, and every page is right."""

import pytest
from tests.integration.backup_restore.clusters import relation_files, sql
from tests.integration.backup_restore.stack import At

TOUCH = "UPDATE item SET name = name || '!' WHERE id % 50 = {}"


def lose_the_last(place, snapshot):
    (place / "snapshots" / snapshot.id).unlink()
    return "there are no page hashes of the last snapshot"


def damage_the_last(place, snapshot):
    path = place / "snapshots" / snapshot.id
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return "a snapshot does not open"


def lose_metadata(place, _):
    packs = [path for path in (place / "packs" / "meta").rglob("*") if path.is_file()]
    for path in packs:
        path.unlink()
    assert packs
    return "the last snapshot is damaged, so all files are read"


@pytest.mark.parametrize("loss", [lose_the_last, damage_the_last, lose_metadata])
def test_fault_28_without_the_parent_every_page_is_right(loss, cluster, make_stack, shared_directory):
    stack = make_stack(cluster)
    for number in range(2):
        sql(cluster, TOUCH.format(number), "CHECKPOINT")
        last = stack.back_up_here(At("", lambda: None))
    assert last.facts["changed_page_count"] > 0
    expected = loss(stack.place, last)
    sql(cluster, TOUCH.format(2), "CHECKPOINT")
    reporter = At("", lambda: None)
    snapshot = stack.back_up_here(reporter)
    assert any(expected in text for text in reporter.warnings + reporter.notices), (reporter.warnings, reporter.notices)
    assert (snapshot.is_complete, snapshot.facts["changed_page_count"]) == (True, None)

    sql(cluster, TOUCH.format(3), "CHECKPOINT")
    after = stack.back_up_here(At("", lambda: None))
    assert after.facts["changed_page_count"] > 0
    cluster.stop()
    stack.succeed("restore", "db", "--target", shared_directory / "restored", "--snapshot", after.id)
    on_disk, restored = relation_files(cluster.data_directory), relation_files(shared_directory / "restored")
    assert [path for path in restored if restored[path] != on_disk[path]] == []
    assert len(restored) > 900
