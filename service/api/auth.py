"""Who may ask: API keys, of which this server knows only the digests.

The file of keys has a line for each: a name, ``sha256:`` and the digest, and what the key may do
beyond segmenting (``admin``) or may not exceed (``quota=100/minute``)::

    microscope-3  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    operations    sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 admin

A key is 32 random bytes, so that a plain digest cannot be searched.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, Request

from service.api.quotas import parse_quota
from service.errors import Forbidden, SettingsError, Unauthenticated
from service.settings import Settings

_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})(.*)")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    id : str
        Tells callers apart: the name of the key, or the address where no key is needed.
    key : str or None
        Name of the key; fit for logs and metrics.
    admin : bool
        May change what is served.
    quota : str or None
        A quota of its own, where the general one does not apply.
    """

    id: str
    key: str | None = None
    admin: bool = False
    quota: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: str
    caller: Caller


class KeyRing:
    """The keys of a file, read again when it changes.

    Parameters
    ----------
    path : Path
        The file of keys.
    check_s : float
        It is looked at for changes no more often than this.

    Raises
    ------
    SettingsError
        If it cannot be read, holds no key, or a line that is none.
    """

    def __init__(self, path: Path, *, check_s: float = 1.0) -> None:
        self._path = path
        self._check_s = check_s
        self._seen = self._stamp()
        self._entries = read_keys(path)
        self._checked_s = time.monotonic()

    def caller(self, key: str) -> Caller | None:
        """Return whose key this is, None when it is nobody's; as long for any key."""
        self._read_again_when_changed()
        digest = hash_key(key)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.caller
        return found

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read_again_when_changed(self) -> None:
        now_s = time.monotonic()
        if now_s - self._checked_s < self._check_s:
            return
        self._checked_s = now_s
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._entries = read_keys(self._path)
            _LOG.info("read %d API keys again", len(self._entries))
        except SettingsError as error:  # better the keys of before than nobody or everybody
            _LOG.error("the API keys stay as they were: %s", error.detail)


class Guard:
    """Tells who asks, and whether a key is needed for it.

    Parameters
    ----------
    settings : Settings
        Where to listen, and where the keys are.

    Raises
    ------
    SettingsError
        If anybody on the network could use this server and nobody said that this is meant; or if
        the file of keys cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = KeyRing(settings.api_keys_file) if settings.api_keys_file else None
        self._local = _is_loopback(settings.host)
        if not (self._keys or self._local or settings.allow_anonymous):
            raise SettingsError(
                f"DISCERN_HOST={settings.host} can be reached by others and there are no API keys: "
                "name a file of keys in DISCERN_API_KEYS_FILE (`discern key NAME` makes one), or "
                "set DISCERN_ALLOW_ANONYMOUS=true to let everyone in"
            )

    def caller(self, request: Request) -> Caller:
        """Return who sends a request.

        Raises
        ------
        Unauthenticated
            If a key is needed and there is none that is known.
        """
        if self._keys is None:
            address = request.client.host if request.client else ""
            return Caller(address, admin=self._local)
        key = _presented(request)
        caller = self._keys.caller(key) if key else None
        if caller is None:
            raise Unauthenticated(
                "this key is not known here" if key else
                "send an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            )  # fmt: skip
        return caller


def identify(request: Request) -> Caller:
    """Return who sends a request, and leave the name of the key for the log."""
    guard: Guard = request.app.state.guard
    caller = guard.caller(request)
    if caller.key:
        request.state.log["client"] = caller.key
    return caller


# Coroutines, though they await nothing: FastAPI runs other dependencies on threads of its own, and
# even a probe would wait for two switches between threads when all cores are busy.
async def caller_of(request: Request) -> Caller:
    """Return who sends a request."""
    return identify(request)


CallerOf = Annotated[Caller, Depends(caller_of)]


async def admin_of(caller: CallerOf) -> Caller:
    """Return who sends a request that changes what is served.

    Raises
    ------
    Forbidden
        If the caller may not.
    """
    if not caller.admin:
        raise Forbidden("this needs an API key with the right `admin`")
    return caller


def hash_key(key: str) -> str:
    """Return the digest by which a key is known here."""
    return hashlib.sha256(key.encode()).hexdigest()


def make_key(name: str) -> tuple[str, str]:
    """Return a new key, and its line for the file of keys."""
    key = "discern_" + secrets.token_urlsafe(32)
    line = f"{name} sha256:{hash_key(key)}"
    if not _LINE.fullmatch(line):
        raise SettingsError(f"{name!r} is no name for a key: letters, digits, '.', '_' and '-'")
    return key, line


def read_keys(path: Path) -> Sequence[_Entry]:
    """Read a file of keys.

    Raises
    ------
    SettingsError
        If it cannot be read, holds no key, or a line that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the file of API keys {path} cannot be read") from error
    entries = [
        _entry(line.strip(), f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.strip().startswith("#")
    ]
    if not entries:
        raise SettingsError(f"the file of API keys {path} holds no key")
    return entries


def _entry(line: str, where: str) -> _Entry:
    found = _LINE.fullmatch(line)
    if found is None:
        raise SettingsError(f"{where}: not `NAME sha256:DIGEST [admin] [quota=N/PERIOD]`")
    admin, quota = False, None
    for word in found[3].split():
        if word == "admin":
            admin = True
        elif word.startswith("quota="):
            quota = word.removeprefix("quota=")
            parse_quota(quota)
        else:
            raise SettingsError(f"{where}: {word!r} is neither `admin` nor `quota=N/PERIOD`")
    name = found["name"]
    return _Entry(found["digest"], Caller(f"key {name}", name, admin, quota))


def _presented(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return request.headers.get("x-api-key", "").strip()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
