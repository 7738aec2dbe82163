"""Which bytes of an object a ``get`` asks for: one rule for every driver."""

from __future__ import annotations

from holdfast.errors import StorageError, UsageError


def require_range(offset: int, length: int | None) -> None:
    """Raise UsageError for a range that the contract of ``Storage.get`` does not know."""
    if length is not None and (length < 0 or offset < 0):
        raise UsageError(f"not a range of an object: offset {offset}, length {length}")


def resolve_range(name: str, size_bytes: int, offset: int, length: int | None) -> tuple[int, int]:
    """Return (start, length) of a range within an object of ``size_bytes``.

    Raises StorageError when the object does not cover it.
    """
    require_range(offset, length)
    start = offset if offset >= 0 else size_bytes + offset
    count = size_bytes - start if length is None else length
    if start < 0 or count < 0 or start + count > size_bytes:
        raise not_covered(name, offset, length)
    return start, count


def not_covered(name: str, offset: int, length: int | None) -> StorageError:
    """Return the error for a range that reaches outside its object."""
    wanted = "the rest" if length is None else f"{length} bytes"
    return StorageError(f"get {name}: the object does not hold {wanted} from offset {offset}")
