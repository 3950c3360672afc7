"""The public keys of an identity provider: cached, and fetched so that no request waits long."""

import json
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.event import Event
from jwt import PyJWK, PyJWKClient, PyJWKSet
from jwt.exceptions import PyJWTError

from millrace.worker.errors import MillraceError
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.parsers import is_loopback

FRESH_SECONDS = 20.0  # older keys are refetched in the background: a revoked key is noticed within a minute
STALE_SECONDS = 3600.0  # keys older than this are no longer trusted while the provider is unavailable
REFETCH_SECONDS = 5.0  # the shortest time between two fetches, whatever unknown keys tokens name
FETCH_SECONDS = 3.0
_SOCKET_SECONDS = 2.0

_log = get_logger(__name__)


class KeysUnavailable(MillraceError):
    """The provider's keys cannot be fetched, and no cached ones are recent enough."""


class _DirectClient(PyJWKClient):
    """Fetches keys from this machine, past any proxy of the environment."""

    def fetch_data(self) -> Any:
        request = urllib.request.Request(self.uri, headers=self.headers)  # noqa: S310 - the setting takes http(s) only
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
        with opener.open(request, timeout=self.timeout) as response:
            return json.load(response)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


class JwksCache:
    """One process's cache of a provider's keys; the first lookup starts the first fetch.

    At most one fetch runs at a time. While the cached keys are stale but known, requests use them; a request waits for
    a fetch, three seconds at most, if there are no keys yet or its own key is unknown.
    """

    def __init__(self, url: str, algorithm: str) -> None:
        self._algorithm = algorithm
        is_local = is_loopback(urlsplit(url).hostname or "")
        self._client = (_DirectClient if is_local else PyJWKClient)(url, timeout=_SOCKET_SECONDS, cache_jwk_set=False)
        self._keys: PyJWKSet | None = None
        self._fetched_at = 0.0
        self._tried_at = -REFETCH_SECONDS
        self._fetching: Event | None = None

    def keys(self, kid: str | None) -> list[PyJWK]:
        """Return the algorithm's keys with this id, all of them for a token without a key id.

        A provider may publish keys of several types, or old and new ones, under one id. Raises KeysUnavailable.
        """
        now = time.monotonic()
        keys = self._find(kid)
        if not keys and (self._fetching is not None or now - self._tried_at >= REFETCH_SECONDS):
            self._start_fetch().wait(FETCH_SECONDS)
            keys = self._find(kid)
        elif now - self._fetched_at > FRESH_SECONDS and now - self._tried_at >= REFETCH_SECONDS:
            self._start_fetch()
        if self._keys is None or time.monotonic() - self._fetched_at > STALE_SECONDS:
            raise KeysUnavailable
        return keys

    def _find(self, kid: str | None) -> list[PyJWK]:
        return [
            key
            for key in (self._keys or ())
            if key.public_key_use in ("sig", None)
            and key.algorithm_name == self._algorithm  # by the key's `alg`, else by its type and curve
            and (kid is None or key.key_id == kid)
        ]

    def _start_fetch(self) -> Event:
        """Start a fetch unless one runs, and return the event that is set when it ends."""
        if self._fetching is None:
            self._tried_at = time.monotonic()
            self._fetching = Event()
            gevent.spawn(self._fetch, self._fetching)
        return self._fetching

    def _fetch(self, ended: Event) -> None:
        try:
            with gevent.Timeout(FETCH_SECONDS, TimeoutError("too slow")):
                self._keys = self._client.get_jwk_set(refresh=True)
            self._fetched_at = time.monotonic()
        except (PyJWTError, OSError, ValueError) as error:
            _log.warning("jwks_fetch_failed", error=f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001 - the edge of this greenlet: the provider may answer anything
            _log.exception("jwks_fetch_failed")
        finally:
            self._fetching = None
            ended.set()
