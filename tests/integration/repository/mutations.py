"""Seeded ways in which storage, or somebody with access to it, may spoil a repository: one mutation at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Objects = dict[str, bytes]


def flip_bit(chance: random.Random, objects: Objects, name: str) -> str:
    """Flip one bit; every third time near one of the ends, where headers and trailers are."""
    data = bytearray(objects[name])
    bits = 8 * len(data)
    at = chance.choice([chance.randrange(bits), chance.randrange(min(bits, 1000)), bits - 1 - chance.randrange(500)])
    data[at // 8] ^= 1 << at % 8
    objects[name] = bytes(data)
    return f"bit {at} flipped"


def truncate(chance: random.Random, objects: Objects, name: str) -> str:
    """Cut an object off."""
    length = chance.choice([0, chance.randrange(len(objects[name])), len(objects[name]) - 1])
    objects[name] = objects[name][:length]
    return f"truncated to {length}"


def extend(chance: random.Random, objects: Objects, name: str) -> str:
    """Append something."""
    more = chance.randbytes(chance.randrange(1, 64))
    objects[name] += more
    return f"{len(more)} bytes appended"


def overwrite(chance: random.Random, objects: Objects, name: str) -> str:
    """Put zeros, or noise, over a run of bytes."""
    data = bytearray(objects[name])
    start = chance.randrange(len(data))
    length = min(chance.randrange(1, 513), len(data) - start)
    data[start : start + length] = chance.choice([bytes(length), chance.randbytes(length)])
    objects[name] = bytes(data)
    return f"{length} bytes overwritten at {start}"


def delete(chance: random.Random, objects: Objects, name: str) -> str:
    """Remove an object."""
    del objects[name]
    return "deleted"


def swap(chance: random.Random, objects: Objects, name: str) -> str:
    """Exchange two objects, of the same kind if there is another one."""
    other = _other(chance, objects, name)
    objects[name], objects[other] = objects[other], objects[name]
    return f"swapped with {other}"


def replace(chance: random.Random, objects: Objects, name: str) -> str:
    """Put a copy of another object over this one."""
    other = _other(chance, objects, name)
    objects[name] = objects[other]
    return f"replaced by {other}"


def copy(chance: random.Random, objects: Objects, name: str) -> str:
    """Store an object a second time under a name that fits its kind."""
    new = _new_name(chance, name)
    objects[new] = objects[name]
    return f"copied to {new}"


def rename(chance: random.Random, objects: Objects, name: str) -> str:
    """Give an object another name that fits its kind."""
    new = _new_name(chance, name)
    objects[new] = objects.pop(name)
    return f"renamed to {new}"


MUTATIONS: tuple[Callable[[random.Random, Objects, str], str], ...] = (
    flip_bit, flip_bit, flip_bit, truncate, extend, overwrite, delete, swap, replace, copy, rename,
)  # fmt: skip


def mutate(chance: random.Random, objects: Objects, foreign: Objects) -> tuple[Objects, str]:
    """Return mutated objects and what was done; ``foreign`` is another repository, whose objects may be brought in."""
    while True:
        mutated = dict(objects)
        name = chance.choice(sorted(objects))
        if chance.randrange(12) == 0:
            stranger = chance.choice(sorted(other for other in foreign if _kind(other) == _kind(name)))
            mutated[name] = foreign[stranger]
            what = "replaced by an object of another repository"
        else:
            what = chance.choice(MUTATIONS)(chance, mutated, name)
        if mutated != objects:
            return mutated, f"{name}: {what}"


def _kind(name: str) -> str:
    return "/".join(name.split("/")[:2]) if name.startswith("packs/") else name.split("/", maxsplit=1)[0]


def _other(chance: random.Random, objects: Objects, name: str) -> str:
    alike = sorted(other for other in objects if other != name and _kind(other) == _kind(name))
    return chance.choice(alike or sorted(objects.keys() - {name}))


def _new_name(chance: random.Random, name: str) -> str:
    new = chance.randbytes(16).hex()
    if name.startswith("packs/"):
        return f"{_kind(name)}/{chance.choice([new[:2], name.split('/')[2]])}/{new}"
    if name.startswith("sessions/"):
        return f"sessions/{new}-{chance.randrange(3):06d}"
    return f"{name.split('/', maxsplit=1)[0]}/{new}" if "/" in name else f"keys/{new}"
