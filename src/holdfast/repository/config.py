"""The ``config`` object: plain JSON that says what the repository is, readable before any key is known."""

from __future__ import annotations

import msgspec

from holdfast import clock
from holdfast.errors import DamageError, HoldfastError
from holdfast.model import OBJECT_ID, ObjectId, new_object_id

CONFIG_NAME = "config"
FORMAT = 1
SUITE_ENCRYPTED = "hpke-mlkem768-x25519/aes-256-gcm/blake3"
SUITE_PLAIN = "none/blake3"


class RepositoryConfig(msgspec.Struct, frozen=True):
    """Format, identity, crypto suite and birth of a repository; ``mac`` is checked once a key is known."""

    format: int
    id: ObjectId
    suite: str
    created: str
    mac: bytes = b""

    @property
    def is_encrypted(self) -> bool:
        """Whether content is sealed."""
        return self.suite == SUITE_ENCRYPTED


def new_config(suite: str) -> RepositoryConfig:
    """Return the config of a new repository."""
    return RepositoryConfig(FORMAT, new_object_id(), suite, clock.now().isoformat(timespec="seconds"))


def parse_config(stored: bytes) -> RepositoryConfig:
    """Return the parsed config; DamageError when unreadable, HoldfastError when of a format that is not known here."""
    try:
        config = msgspec.json.decode(stored, type=RepositoryConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamageError(CONFIG_NAME, f"unreadable ({error})", hint="restore this object from a copy") from error
    if config.format != FORMAT or config.suite not in {SUITE_ENCRYPTED, SUITE_PLAIN}:
        raise HoldfastError(
            f"the repository has format {config.format}, suite {config.suite!r}; this version reads format {FORMAT}",
            hint="use the version of holdfast that wrote it",
        )
    if not OBJECT_ID.fullmatch(config.id):
        raise DamageError(CONFIG_NAME, "the repository id is not 32 hex digits", hint="restore this object from a copy")
    return config
