"""The keys of an identity provider, by their URL: cached, and fetched so that no request waits for long."""

import time

import gevent
from gevent.event import Event
from jwt import PyJWK, PyJWKClient, PyJWKSet
from jwt.exceptions import PyJWTError

from millrace.worker.errors import MillraceError
from millrace.worker.observability.logs import get_logger

FRESH_SECONDS = 20.0  # older ones are fetched again beside the requests: a key taken back is known within a minute
STALE_SECONDS = 3600.0  # a provider that is away for longer vouches for nobody any more
REFETCH_SECONDS = 5.0  # an unknown key is asked for at most so often, whatever tokens come
FETCH_SECONDS = 3.0
_SOCKET_SECONDS = 2.0

_log = get_logger(__name__)


class KeysUnavailable(MillraceError):
    """The provider's keys can't be had just now."""


class JwksCache:
    """One process's copy of a provider's keys; nothing is fetched before the first of them is asked for.

    One fetch is under way at a time. While known keys are only old, requests go on with those; a request waits for
    a fetch, three seconds at most, where there are none yet or where its own key is unknown.
    """

    def __init__(self, url: str) -> None:
        self._client = PyJWKClient(url, timeout=_SOCKET_SECONDS, cache_jwk_set=False)
        self._keys: PyJWKSet | None = None
        self._fetched_at = 0.0
        self._tried_at = -REFETCH_SECONDS
        self._under_way: Event | None = None

    def key(self, kid: str | None) -> PyJWK | None:
        """Return the key of this id, or the only one for a token that names none; None where the provider has none.

        Raises KeysAway.
        """
        now = time.monotonic()
        key = self._find(kid)
        if key is None and (self._under_way is not None or now - self._tried_at >= REFETCH_SECONDS):
            self._fetch().wait(FETCH_SECONDS)
            key = self._find(kid)
        elif now - self._fetched_at > FRESH_SECONDS and now - self._tried_at >= REFETCH_SECONDS:
            self._fetch()
        if self._keys is None or time.monotonic() - self._fetched_at > STALE_SECONDS:
            raise KeysUnavailable
        return key

    def _find(self, kid: str | None) -> PyJWK | None:
        keys = [key for key in (self._keys or ()) if key.public_key_use in ("sig", None)]
        found = [key for key in keys if kid is None or key.key_id == kid]
        return found[0] if len(found) == 1 else None

    def _fetch(self) -> Event:
        """Begin to fetch, unless that is under way, and return what is set at its end."""
        if self._under_way is None:
            self._tried_at = time.monotonic()
            self._under_way = Event()
            gevent.spawn(self._fetch_now, self._under_way)
        return self._under_way

    def _fetch_now(self, ended: Event) -> None:
        try:
            with gevent.Timeout(FETCH_SECONDS, TimeoutError("too slow")):
                self._keys = self._client.get_jwk_set(refresh=True)
            self._fetched_at = time.monotonic()
        except (PyJWTError, OSError, ValueError) as error:
            _log.warning("keys_not_fetched", error=f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001 - the edge of this greenlet: whatever the provider answers
            _log.exception("keys_not_fetched")
        finally:
            self._under_way = None
            ended.set()
