"""An exchange is done, undone and taken up again from wherever it stands."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.restore.exchange import (
    Outside,
    Parked,
    Relink,
    Rename,
    count_done,
    exchange,
    exchange_back,
    plan_exchange,
)


def make_cluster(directory, name, tablespaces):
    """Make a main directory whose links lead to its tablespaces; every directory holds a file that says whose it is."""
    (directory / "pg_tblspc").mkdir(parents=True)
    (directory / "whose").write_text(name)
    for oid, (place, leads_to) in tablespaces.items():
        (place / "PG_15").mkdir(parents=True)
        (place / "PG_15" / "whose").write_text(name)
        (directory / "pg_tblspc" / str(oid)).symlink_to(leads_to)


def outside(oid, home, part, names=("PG_15",)):
    return Outside(link=f"pg_tblspc/{oid}", home=str(home), parked=str(home / part), names=names)


class World:
    """A live and a staged cluster; tablespaces by number: in the live one, in the staged one, or in both."""

    def __init__(self, root, live_oids, staged_oids):
        self.root = root
        self.live = root / "data"
        homes = {oid: root / f"place-{oid}" for oid in (*live_oids, *staged_oids)}
        for home in homes.values():
            home.mkdir(exist_ok=True)
            (home / "kept").mkdir(exist_ok=True)
        make_cluster(self.live, "live", {oid: (homes[oid], homes[oid]) for oid in live_oids})
        staged = root / "data.staging"
        make_cluster(staged, "staged", {oid: (homes[oid] / "new", homes[oid] / "new") for oid in staged_oids})
        self.outgoing = Parked(
            directory=str(root / "data.kept"), outsides=tuple(outside(oid, homes[oid], "kept") for oid in live_oids)
        )
        self.incoming = Parked(
            directory=str(staged), outsides=tuple(outside(oid, homes[oid], "new") for oid in staged_oids)
        )
        self.steps = plan_exchange(self.live, self.outgoing, self.incoming)

    def picture(self):
        """Every file's content and every link, by path."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = path.read_text()
        return found

    def whose(self):
        """Whose main directory is in service, and whose tablespaces its links lead to."""
        names = {(self.live / "whose").read_text()}
        for link in (self.live / "pg_tblspc").iterdir():
            names.add((link / "PG_15" / "whose").read_text())
        return names


OIDS = st.sets(st.integers(1, 4), max_size=3)


@settings(max_examples=40, deadline=None)
@given(live=OIDS, staged=OIDS, data=st.data())
def test_from_wherever_it_was_cut_off(tmp_path_factory, live, staged, data):
    world = World(tmp_path_factory.mktemp("world"), sorted(live), sorted(staged))
    before = world.picture()
    cut = data.draw(st.integers(0, len(world.steps)))
    for step in world.steps[:cut]:
        step.do()
    assert count_done(world.steps) == cut
    assert world.live.exists() == (cut in {0, len(world.steps)}), "there is a name only for a whole cluster"

    exchange(world.steps)
    assert world.whose() == {"staged"}
    assert count_done(world.steps) == len(world.steps)
    after = world.picture()
    exchange(world.steps)
    assert world.picture() == after

    back = data.draw(st.integers(0, len(world.steps)))
    for step in list(reversed(world.steps))[:back]:
        step.undo()
    assert count_done(world.steps) == len(world.steps) - back
    exchange_back(world.steps)
    assert world.picture() == before
    assert world.whose() == {"live"}


def test_what_is_parked_is_whole_by_itself(tmp_path):
    world = World(tmp_path, [1, 2], [2, 3])
    exchange(world.steps)
    kept = tmp_path / "data.kept"
    assert (kept / "whose").read_text() == "live"
    for link in (kept / "pg_tblspc").iterdir():
        assert (link / "PG_15" / "whose").read_text() == "live"


def test_nothing_in_service_is_no_obstacle(tmp_path):
    make_cluster(tmp_path / "staged", "staged", {})
    steps = plan_exchange(tmp_path / "data", None, Parked(directory=str(tmp_path / "staged")))
    exchange(steps)
    assert (tmp_path / "data" / "whose").read_text() == "staged"
    exchange_back(steps)
    assert not (tmp_path / "data").exists()


def test_an_empty_directory_gives_way(tmp_path):
    make_cluster(tmp_path / "staged", "staged", {})
    (tmp_path / "data").mkdir()
    exchange(plan_exchange(tmp_path / "data", None, Parked(directory=str(tmp_path / "staged"))))
    assert (tmp_path / "data" / "whose").read_text() == "staged"


def test_nothing_is_ever_replaced(tmp_path):
    for name in ("one", "other"):
        make_cluster(tmp_path / name, name, {})
    with pytest.raises(HoldfastError, match="something already"):
        Rename(str(tmp_path / "one"), str(tmp_path / "other")).do()
    assert (tmp_path / "one" / "whose").read_text() == "one"
    assert (tmp_path / "other" / "whose").read_text() == "other"


def test_a_directory_that_is_renamed_itself(tmp_path):
    make_cluster(tmp_path / "data", "live", {})
    (tmp_path / "wal").mkdir()
    (tmp_path / "data" / "pg_wal").symlink_to(tmp_path / "wal")
    (tmp_path / "staged").mkdir()
    whole = Outside(link="pg_wal", home=str(tmp_path / "wal"), parked=str(tmp_path / "wal.kept"), names=())
    kept = Parked(directory=str(tmp_path / "kept"), outsides=(whole,))
    exchange(plan_exchange(tmp_path / "data", kept, Parked(directory=str(tmp_path / "staged"))))
    assert (tmp_path / "wal.kept").is_dir()
    assert (tmp_path / "kept" / "pg_wal").readlink() == tmp_path / "wal.kept"


def test_a_link_keeps_its_place_when_a_new_one_was_left_half_made(tmp_path):
    (tmp_path / "link").symlink_to("before")
    (tmp_path / "link.holdfast-new").symlink_to("half")
    step = Relink(str(tmp_path / "link"), "before", "after")
    step.do()
    assert step.is_done()
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    step.undo()
    assert not step.is_done()
