"""API keys (`MILLRACE_API_KEYS`): a program sends one as `Authorization: Bearer mr-…`, whatever `MILLRACE_AUTH` is."""

import time
from pathlib import Path

from flask import Request

from millrace.webapp.guard.auth.protocol import Authorization, bearer_token
from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.api_keys import PREFIX, hash_of_key, path_of, read_keys
from millrace.worker.settings.schema import Settings

CHECK_SECONDS = 1.0  # between two looks at the file while the keys that come are known

_log = get_logger(__name__)


class KeyRing:
    """The owners of the keys of a setting; a file is read again once it has changed.

    A file that cannot be read any more leaves the keys as they were. Raises SettingError where it cannot be read at
    first.
    """

    def __init__(self, setting: str) -> None:
        self._setting, self._path = setting, path_of(setting)
        self._owners: dict[str, str] = {}
        self._version: tuple[int, ...] | None = None
        self._failure = ""
        self._checked_at = time.monotonic()
        try:
            self._load()
        except ValueError as error:
            raise SettingError(f"MILLRACE_API_KEYS: {error}") from error

    def owner_of(self, digest: str) -> str | None:
        """Return the owner of the key with this hash, None for one that is unknown or revoked.

        An unknown key may have just been added, so that the file is looked at in any case.
        """
        is_due = digest not in self._owners or time.monotonic() - self._checked_at >= CHECK_SECONDS
        if self._path is not None and is_due:
            self._checked_at = time.monotonic()
            self._refresh()
        return self._owners.get(digest)

    def _refresh(self) -> None:
        failure = ""
        if _version_of(self._path) != self._version:
            try:
                self._load()
                _log.info("api_keys_read", keys=len(self._owners))
            except ValueError as error:
                failure = str(error)
        if failure and failure != self._failure:  # tried again each second, but logged once
            _log.error("api_keys_unreadable", error=failure, kept=len(self._owners))
        self._failure = failure

    def _load(self) -> None:
        version = _version_of(self._path)  # before it is read: a change in between is noticed next time
        keys = read_keys(self._setting) if self._setting else ()
        self._owners, self._version = {key.sha256: key.owner for key in keys}, version


class KeyAuth:
    """Finds the owner of an API key; applies to the requests that `takes` names, and to no others.

    The keys replace the method of `MILLRACE_AUTH` for these requests: a cookie beside a key has no effect. In session
    mode no bearer token but a key has a meaning, so that each other one is rejected instead of becoming a new owner.
    """

    creates_owners = False
    has_ambient_credentials = False

    def __init__(self, settings: Settings) -> None:
        self._ring = KeyRing(settings.auth.api_keys)
        self._has_keys = bool(settings.auth.api_keys)
        self._takes_every_token = settings.auth.method == "session"

    def takes(self, request: Request) -> bool:
        """Return whether the request is authenticated by its key alone."""
        token = bearer_token(request)
        return token is not None and (self._takes_every_token or (self._has_keys and token.startswith(PREFIX)))

    def authenticate(self, request: Request) -> str | None:
        """Return the key's owner, None for a key that is unknown or revoked."""
        return self._ring.owner_of(hash_of_key(bearer_token(request) or ""))

    def challenge(self, request: Request) -> str:
        """Return the challenge of https://www.rfc-editor.org/rfc/rfc6750#section-3."""
        return 'Bearer realm="millrace", error="invalid_token"'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return a check that looks the key up again: it may be revoked."""
        digest = hash_of_key(bearer_token(request) or "")
        return Authorization(("api key", digest), lambda: self._ring.owner_of(digest) == owner)


def _version_of(path: Path | None) -> tuple[int, ...] | None:
    """Return what differs between two states of a file; None where there is no file."""
    if path is None:
        return None
    try:
        found = path.stat()  # of the file behind a symbolic link, which a mounted secret changes
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
