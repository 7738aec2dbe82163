"""A database or a table comes back from a snapshot, into a file or a running database, and nothing stays behind."""

from tests.integration.backup_restore.clusters import ask, sql

ORDERS = 'SELECT md5(string_agg(o::text, $$|$$ ORDER BY id)) FROM sales.orders AS o'


def part(stack, shared_directory, *arguments):
    return stack.succeed("restore", "db", *arguments, TMPDIR=str(shared_directory)).message("part_restored")


def test_a_database_comes_back_into_another_one(stack, source, shared_directory):
    sql(source, "CREATE DATABASE rescue")
    done = part(stack, shared_directory, "--database", "shop", "--into", source.conninfo(dbname="rescue"))
    assert ask(source, ORDERS, "rescue") == ask(source, ORDERS, "shop")
    assert ask(source, 'SELECT count(*) FROM "Mixed Case"', "rescue") == 301
    assert not done["is_whole_cluster"]
    assert list(shared_directory.iterdir()) == []
