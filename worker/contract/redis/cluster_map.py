"""The map of a Redis Cluster: which master has which slots, and which of its servers answer.

The clients of one process share it, so that each move and each server that hangs is found out once.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, cast

import redis
from redis.crc import key_slot

Place = tuple[str, int]

REFRESH_SECONDS = 0.2  # at least so long between two readings of the map
MAP_SECONDS = 1.0  # for a server to give the map or to answer a check
MAP_CONNECTIONS = 2  # to each server, for these

_TAG = re.compile(rb"\{(b[0-9]{2})\}")


@lru_cache(maxsize=128)
def slot_of(tag: bytes) -> int:
    """Return the hash slot of a tag, such as `b07`."""
    return key_slot(tag)


def find_slot(words: Sequence[Any]) -> int | None:
    """Return the slot of the first word of a command that has a bucket's hash tag; None if none has."""
    for word in words:
        if isinstance(word, str | bytes):
            found = _TAG.search(word.encode() if isinstance(word, str) else word)
            if found:
                return slot_of(found[1])
    return None


def text_of(place: Place) -> str:
    """Return host and port, for a message."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run_at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Run the calls at the same time, each in a thread, which is a greenlet under gevent; raises the first error."""
    errors: list[Exception] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class ClusterMap:
    """The servers of a cluster: which master has which slots, and since when a server has not answered.

    `make` returns a client of one server, for the map's own questions. Only `check` notes which servers answer; the
    process's `NodeProbe` calls it every second. Without it, `down` stays empty.
    """

    def __init__(self, places: Sequence[Place], make: Callable[[Place], redis.Redis]) -> None:
        self.down: dict[Place, float] = {}
        """The servers that did not answer the last check, with the time of the first such check, monotonic."""
        self._seeds = tuple(places)
        self._make = make
        self._clients: dict[Place, redis.Redis] = {}
        self._ranges: list[tuple[int, int, Place]] = []
        self._read_at = -REFRESH_SECONDS

    @property
    def masters(self) -> list[Place]:
        """The masters that have slots, in a fixed order; raises redis.ConnectionError while no map is known."""
        if not self._ranges:
            self.refresh()
        return sorted({place for _, _, place in self._ranges})

    @property
    def nodes(self) -> list[Place]:
        """The known servers: the masters, and those that the URL names."""
        return list(dict.fromkeys([*(place for _, _, place in self._ranges), *self._seeds]))

    @property
    def up_nodes(self) -> list[Place]:
        """The known servers that answer; all of them where none does."""
        return [place for place in self.nodes if place not in self.down] or self.nodes

    @property
    def down_masters(self) -> set[Place]:
        """The masters that have slots and do not answer."""
        return {place for _, _, place in self._ranges if place in self.down}

    @property
    def is_away(self) -> bool:
        """Whether no master answers."""
        return all(place in self.down for place in {place for _, _, place in self._ranges} or self.nodes)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def known_master(self, slot: int) -> Place | None:
        """Return the master of a slot as far as the map is known; does no I/O."""
        return next((place for first, last, place in self._ranges if first <= slot <= last), None)

    def down_since(self, slot: int) -> float | None:
        """Return since when the master of a slot has not answered, None if it does; does no I/O."""
        place = self.known_master(slot)
        return None if place is None else self.down.get(place)

    def place_of(self, slot: int) -> Place:
        """Return the master of a slot; reads the map if it is not known. Raises redis.ConnectionError."""
        if not self._ranges:
            self.refresh()
        found = self.known_master(slot)
        if found is None:
            self.refresh()
            raise redis.ConnectionError(f"no master of the cluster has slot {slot}")
        return found

    def move(self, slot: int, place: Place) -> None:
        """Note that a slot has another master, until the map is read again."""
        self._ranges.insert(0, (slot, slot, place))
        with suppress(redis.RedisError):
            self.refresh()

    def refresh(self, avoided: Place | None = None) -> None:
        """Read the map from the first server that answers, unless it has just been read.

        The `avoided` one, and those that are down, are asked last. Raises redis.ConnectionError if no server answers
        and no map is known.
        """
        now = time.monotonic()
        if now - self._read_at < REFRESH_SECONDS and self._ranges:
            return
        self._read_at = now
        errors: list[str] = []
        places = random.sample(self.nodes, len(self.nodes))
        for place in sorted(places, key=lambda each: each in self.down or each == avoided):
            try:
                self._ranges = _ranges(self._client_of(place).execute_command("CLUSTER SLOTS"), place)
            except redis.RedisError as error:
                errors.append(f"{text_of(place)}: {error}")
            else:
                return
        if not self._ranges:
            raise redis.ConnectionError(f"no node of the cluster answers: {errors[0]}")

    def check(self) -> tuple[dict[Place, Exception], dict[Place, float]]:
        """Ask every known server whether it answers, all at once, and read the map again while one does not.

        Returns those that have stopped answering, with the error, and those that answer again, with the seconds.
        """
        with suppress(redis.RedisError):
            if self.down or not self._ranges:
                self.refresh()
        places = self.nodes
        errors: dict[Place, Exception] = {}
        run_at_once([partial(self._ask, place, errors) for place in places])
        now = time.monotonic()
        lost: dict[Place, Exception] = {}
        back: dict[Place, float] = {}
        for place in places:
            if place in errors:
                if place not in self.down:
                    lost[place] = errors[place]
                    self.down[place] = now
            elif place in self.down:
                back[place] = now - self.down.pop(place)
        for place in [place for place in self.down if place not in places]:
            del self.down[place]  # it has left the cluster
        return lost, back

    def _ask(self, place: Place, errors: dict[Place, Exception]) -> None:
        try:
            self._client_of(place).ping()
        except redis.RedisError as error:
            errors[place] = error

    def _client_of(self, place: Place) -> redis.Redis:
        if place not in self._clients:
            self._clients[place] = self._make(place)
        return self._clients[place]


def _ranges(reply: Any, asked: Place) -> list[tuple[int, int, Place]]:
    found: list[tuple[int, int, Place]] = []
    for first, last, master, *_ in cast("list[list[Any]]", reply):
        host = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
        found.append((int(first), int(last), (host or asked[0], int(master[1]))))
    if not found:
        raise redis.ConnectionError("the node knows no slots; it is not in a cluster, or not yet")
    return found
