"""From a location, as a person writes it, to a storage: the one place that knows drivers and stacks wrappers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.storage.base import is_name
from holdfast.storage.files import FilesStorage
from holdfast.storage.limit import Allowance, LimitedStorage
from holdfast.storage.retry import RetryingStorage

if TYPE_CHECKING:
    from holdfast.storage.base import Storage
    from holdfast.storage.options import StorageOptions
    from holdfast.storage.trace import Tally

_SCHEMES = ("s3", "gs", "az", "file")
_KINDS_HINT = "a location is an absolute path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_LOST_SLASH = re.compile(rf"({'|'.join(_SCHEMES)}):/?([^/].*)", re.IGNORECASE)
# Amazon S3 user guide, "Bucket naming rules"; Google's and Azure's are narrower or the same but for "_".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_ENDPOINT = re.compile(r"(https?)://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_CREDENTIAL = re.compile(r"[!-~]+")


def open_storage(url: str, options: StorageOptions, tally: Tally | None = None) -> Storage:
    """Return the storage at a location, with retries and limits; every request is counted in ``tally`` if one is given.

    ``url`` is an absolute path, ``file:///path``, ``s3://bucket/prefix``, ``gs://bucket/prefix`` or
    ``az://container/prefix``. Nothing is asked of the storage yet. Raises UsageError, with a hint, for what is none of
    these, and for options that cannot be.
    """
    return stack(open_driver(url, options), options, tally)


def stack(driver: Storage, options: StorageOptions, tally: Tally | None = None) -> Storage:
    """Return a driver in its wrappers.

    Innermost the tally, so that each repetition is counted; then the limit, so that each is paid for; retry outermost.
    """
    storage = driver if tally is None else _traced(driver, tally)
    up, down = Allowance(options.upload_limit_bytes_s), Allowance(options.download_limit_bytes_s)
    return RetryingStorage(LimitedStorage(storage, up=up, down=down), options.retry_deadline_s)


def _traced(driver: Storage, tally: Tally) -> Storage:
    from holdfast.storage.trace import TracedStorage  # a cold push counts nothing

    return TracedStorage(driver, tally)


def open_driver(url: str, options: StorageOptions) -> Storage:
    """Return the bare driver for a location; see ``open_storage``."""
    found = _SCHEME.fullmatch(url)
    if found is None:
        return FilesStorage(_require_path(url))
    scheme, rest = found[1].lower(), found[2]
    if scheme not in _SCHEMES:
        raise _unknown_scheme(url, scheme)
    if scheme == "file":
        return FilesStorage(_require_path(_require_local(url, rest)))
    return _open_objects(scheme, url, rest, options)


def _open_objects(scheme: str, url: str, rest: str, options: StorageOptions) -> Storage:
    bucket, prefix = _split_bucket(scheme, url, rest)
    _require_options(options)
    # obstore costs tens of milliseconds to import: only who uses an object store pays.
    from holdfast.storage.object_stores import make_store
    from holdfast.storage.objects import ObjectsStorage

    shown = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
    return ObjectsStorage(make_store(scheme, bucket, prefix or None, options), shown)


def _require_path(path: str) -> str:
    lost = _LOST_SLASH.fullmatch(path)
    if lost:
        raise UsageError(f"not a location: {_shown(path)}", hint=f"did you mean {lost[1].lower()}://{_shown(lost[2])}?")
    if not path.strip() or "\0" in path:
        raise UsageError("the location is empty", hint=_KINDS_HINT)
    if path.startswith("~"):
        raise UsageError(f"not an absolute path: {path}", hint=f"write it out: {os.path.expanduser(path)}")
    if not path.startswith("/"):
        raise UsageError(
            f"neither a URL nor an absolute path: {_shown(path)}",
            hint=f"did you mean {os.path.normpath('/' + path)}? {_KINDS_HINT}",
        )
    path = os.path.normpath("/" + path.lstrip("/"))
    if path == "/":
        raise UsageError("the root of the file system cannot be a repository", hint="name a directory of its own")
    return path


def _require_local(url: str, rest: str) -> str:
    if not rest.startswith("/"):
        raise UsageError(f"a file URL cannot name a host: {_shown(url)}", hint=f"did you mean file:///{_shown(rest)}?")
    return rest


def _split_bucket(scheme: str, url: str, rest: str) -> tuple[str, str]:
    """Return (bucket, prefix), both proven to be harmless in a request."""
    if "@" in rest.partition("/")[0]:
        raise UsageError(
            f"a location cannot hold credentials: {_shown(url)}",
            hint="give them as options beside the URL, from a file or the environment",
        )
    if "?" in rest or "#" in rest:
        raise UsageError(
            f"a location has no query: {_shown(url)}", hint="give region, endpoint and the like as options beside it"
        )
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket):
        what = f"not the name of a bucket: {bucket}" if bucket else f"no bucket in {_shown(url)}"
        raise UsageError(what, hint=_bucket_hint(scheme, bucket))
    if prefix and not is_name(prefix):
        raise UsageError(
            f"not a prefix of object names: {prefix}", hint="use letters, digits, '-', '_', '.' and single slashes"
        )
    return bucket, prefix


def _bucket_hint(scheme: str, bucket: str) -> str:
    if ":" in bucket:
        return f"a server is named by the option endpoint; the location is {scheme}://bucket/prefix"
    return f"the location is {scheme}://bucket/prefix; buckets have 3 to 63 of a-z, 0-9, '-' and '.'"


def _require_options(options: StorageOptions) -> None:
    if options.endpoint is not None:
        _require_endpoint(options.endpoint, plain_http_is_allowed=options.plain_http_is_allowed)
    # A key read from a file with its newline would break the request within obstore.
    named = {
        "region": options.region,
        "access key id": options.access_key_id,
        "secret access key": options.secret_access_key,
        "session token": options.session_token,
    }
    for what, value in named.items():
        if value is not None and not _CREDENTIAL.fullmatch(value):
            raise UsageError(
                f"the {what} is empty, or holds a space, a line end or another character that none has",
                hint="look for a stray line end where it comes from",
            )
    if (options.access_key_id is None) != (options.secret_access_key is None):
        raise UsageError(
            "of access key id and secret access key only one is given",
            hint="give both, or none to use the machine's own credentials",
        )


def _require_endpoint(endpoint: str, *, plain_http_is_allowed: bool) -> None:
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None:
        raise UsageError(f"not an endpoint: {_shown(endpoint)}", hint="an endpoint is like https://s3.example.com:9000")
    if found[1] == "http" and not plain_http_is_allowed:
        raise UsageError(
            f"the endpoint is not encrypted: {endpoint}",
            hint="use https://, or set plain_http_is_allowed for a network that you trust",
        )


def _unknown_scheme(url: str, scheme: str) -> UsageError:
    if scheme in {"http", "https"}:
        return UsageError(
            f"not a location: {_shown(url)}",
            hint="use s3://bucket/prefix, and give this URL's host as the option endpoint",
        )
    import difflib

    near = difflib.get_close_matches(scheme, _SCHEMES, n=1, cutoff=0.4)
    guess = f"did you mean {near[0]}://? " if near else ""
    return UsageError(f"unknown kind of location: {scheme}://", hint=f"{guess}{_KINDS_HINT}")


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    without_query = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"[^/]*@", "…@", without_query)
