"""Turns what obstore raises into the tree of errors: the edge of the objects driver.

obstore's messages hold the server's whole answer, in which there may be key ids, tokens and signatures. So nothing of
them is passed on but what is known to be harmless: the HTTP status, the S3 error code, the kind of the network failure.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from obstore.exceptions import AlreadyExistsError as ObstoreAlreadyExistsError
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from holdfast.errors import (
    AlreadyExistsError,
    NoSpaceError,
    NotFoundError,
    PermissionRefusedError,
    StorageError,
    TransientStorageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_SYSTEM_KIND = re.compile(r"kind: (ConnectionRefused|ConnectionReset|NotConnected|TimedOut|BrokenPipe)\b")
_CERTIFICATE = re.compile(r"InvalidCertificate|InvalidMessage|CorruptMessage|NotValidForName")

_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}
# Amazon S3 API reference, "List of error codes": these come with a status that says something else.
_TRANSIENT_CODES = {"RequestTimeout", "SlowDown", "InternalError", "OperationAborted", "ConditionalRequestConflict"}
_FULL_CODES = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLargeForQuota"}
_REFUSED_CODES = {"ExpiredToken", "InvalidToken", "AccessDenied", "TokenRefreshRequired"}
_REFUSED = (PermissionDeniedError, UnauthenticatedError)

_HINTS = {
    "NoSuchBucket": "create the bucket, or correct its name in the location",
    "SignatureDoesNotMatch": "check the secret access key",
    "InvalidAccessKeyId": "check the access key id",
    "RequestTimeTooSkewed": "set the clock of this machine (timedatectl set-ntp true)",
    "ExpiredToken": "get a new session token",
    "AuthorizationHeaderMalformed": "check the region",
    "PermanentRedirect": "check the region and the endpoint",
}
_PERMISSION_HINT = "check the credentials, and what they allow on this bucket"


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise what the block raises from obstore as an error of our tree; ``action`` says what was tried."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        # "from None": the original's text would come out again in a traceback.
        raise translate(action, error) from None


class RangeRefusedError(StorageError):
    """The server has no such range: status 416, or an answer that is no partial one. Stays within the driver."""


def translate(action: str, error: Exception) -> StorageError:
    """Return the error of our tree for one that obstore raised."""
    text = str(error)
    status, code = _status(text), _first(_CODE, text)
    kind = _kind_by_answer(status, code) or _kind_by_class(error)
    if kind is None and status is None:
        return _without_answer(action, text)
    hint = _HINTS.get(code or "") or (_PERMISSION_HINT if kind is PermissionRefusedError else None)
    return (kind or StorageError)(f"{action}: {_said(status, code)}", hint=hint)


def _kind_by_answer(status: int | None, code: str | None) -> type[StorageError] | None:
    if code == "NoSuchBucket":
        return StorageError  # not NotFoundError: no object is known to be absent
    if code in _TRANSIENT_CODES or status in _TRANSIENT_STATUSES:
        return TransientStorageError
    if code in _FULL_CODES or status == 507:
        return NoSpaceError
    if code in _REFUSED_CODES or status in {401, 403}:
        return PermissionRefusedError
    return RangeRefusedError if status == 416 else None


def _kind_by_class(error: Exception) -> type[StorageError] | None:
    if isinstance(error, FileNotFoundError):
        return NotFoundError
    if isinstance(error, ObstoreAlreadyExistsError):
        return AlreadyExistsError
    return PermissionRefusedError if isinstance(error, _REFUSED) else None


def _without_answer(action: str, text: str) -> StorageError:
    if "NotPartial" in text:
        return RangeRefusedError(f"{action}: no partial answer to a request for a range")
    if _CERTIFICATE.search(text):
        return StorageError(
            f"{action}: no trusted TLS connection",
            hint="check the endpoint, and name the authority's certificate (s3: {ca_file: …})",
        )
    if "source: Metadata" in text:
        return TransientStorageError(
            f"{action}: the server's answer is not one of an object store",
            hint="check the endpoint: a web page or a proxy may answer there",
        )
    if "failed to lookup address" in text:
        return TransientStorageError(f"{action}: the endpoint's name is not known", hint="check the endpoint")
    if "HttpError" in text or "reqwest" in text:
        kind = _first(_SYSTEM_KIND, text) or ("TimedOut" if "Timeout" in text else "connection failed")
        return TransientStorageError(f"{action}: no answer ({kind})", hint="check the endpoint and the network")
    return StorageError(f"{action}: the object store's client failed", hint="check the options of the location")


def _said(status: int | None, code: str | None) -> str:
    return f"the server answered {' '.join(str(part) for part in (status, code) if part) or 'a refusal'}"


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1] or found[2]) if found else None


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None
