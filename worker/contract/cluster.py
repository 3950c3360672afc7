"""A client of a Redis Cluster, for the keys of generations: their hash tag, `{bNN}`, decides which master has them.

```text
 command ──▶ slot of its {bNN} ──▶ master by the map ──▶ reply
                                    ▲      │ MOVED: the map is read again      ASK: asked once, at the other master
                                    └──────┘ TRYAGAIN, CLUSTERDOWN: after a pause
```

Every command here names keys of one bucket only, so that it has one master. Commands for several masters are sent to
all of them before the first reply is read. A master that is away fails its own commands, not those of the others; but
one that hangs holds up the others' commands in the same exchange until its time limit.
"""

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import hiredis
import redis
from redis.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

Place = tuple[str, int]
Reply = Any

PAUSE_SECONDS = 0.05  # between tries while a slot moves or a master is being replaced
PATIENCE_SECONDS = 0.1  # for a slot that moves; afterwards the command counts as one that Redis cannot serve
RETRY_SECONDS = 1.0  # the same for each retry of a client: someone waits for it, but no loop that serves others
REFRESH_SECONDS = 0.2  # at least so long between two readings of the map

_TAG = re.compile(rb"\{(b[0-9]{2})\}")
_PASSING = ("TRYAGAIN", "CLUSTERDOWN")
_ASKING = b"*1\r\n$6\r\nASKING\r\n"
_KEY_BYTES = 256  # of a packed command, within which its first key stands


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


class ClusterMap:
    """The nodes of a cluster, with a client for each, and which master has which slots."""

    def __init__(self, places: Sequence[Place], make: Callable[[Place], redis.Redis]) -> None:
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
        """The known nodes: the masters, and those that the URL names."""
        return list(dict.fromkeys([*(place for _, _, place in self._ranges), *self._seeds]))

    def client_of(self, place: Place) -> redis.Redis:
        """Return the client of one node."""
        if place not in self._clients:
            self._clients[place] = self._make(place)
        return self._clients[place]

    def close(self) -> None:
        """Close the connections to all nodes."""
        for client in self._clients.values():
            client.close()

    def place_of(self, slot: int) -> Place:
        """Return the master of a slot; reads the map if it is not known. Raises redis.ConnectionError."""
        if not self._ranges:
            self.refresh()
        found = next((place for first, last, place in self._ranges if first <= slot <= last), None)
        if found is None:
            self.refresh()
            raise redis.ConnectionError(f"no master of the cluster has slot {slot}")
        return found

    def move(self, slot: int, place: Place) -> None:
        """Note that a slot has another master, until the map is read again."""
        self._ranges.insert(0, (slot, slot, place))
        with suppress(redis.RedisError):
            self.refresh()

    def refresh(self) -> None:
        """Read the map from the first node that answers, unless it has just been read.

        Raises redis.ConnectionError if no node answers and no map is known.
        """
        now = time.monotonic()
        if now - self._read_at < REFRESH_SECONDS and self._ranges:
            return
        self._read_at = now
        errors: list[str] = []
        for place in random.sample(self.nodes, len(self.nodes)):
            try:
                self._ranges = _ranges(self.client_of(place).execute_command("CLUSTER SLOTS"), place)
            except redis.RedisError as error:
                errors.append(f"{place[0]}:{place[1]}: {error}")
            else:
                return
        if not self._ranges:
            raise redis.ConnectionError(f"no node of the cluster answers: {errors[0]}")


def _ranges(reply: Any, asked: Place) -> list[tuple[int, int, Place]]:
    found: list[tuple[int, int, Place]] = []
    for first, last, master, *_ in cast("list[list[Any]]", reply):
        host = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
        found.append((int(first), int(last), (host or asked[0], int(master[1]))))
    if not found:
        raise redis.ConnectionError("the node knows no slots; it is not in a cluster, or not yet")
    return found


@dataclass
class _Sent:
    """One command of an exchange; `asked` is the node that an ASK has named, for one try."""

    packed: bytes
    slot: int
    asked: Place | None = None
    reply: Reply = None
    failures: int = 0


class ClusterClient(redis.Redis):
    """A client for commands about the keys of generations; each is sent to the master that has its bucket.

    `pool` is one of connections to any node, for pub/sub: a cluster passes each
    message on to all its nodes. A command whose connection fails is sent again up to `retries` times.
    """

    def __init__(self, cluster_map: ClusterMap, pool: redis.ConnectionPool, retries: int) -> None:
        super().__init__(connection_pool=pool)
        self.map = cluster_map
        self._retries = retries

    def close(self) -> None:
        """Close the connections to all nodes."""
        self.map.close()
        self.connection_pool.disconnect()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at the master of its bucket; one without a bucket at every master, for one of their replies."""
        if find_slot(args) is None:
            return self._execute_at_all(*args, **options)
        (reply,) = self.exchange([hiredis.pack_command(args)])
        if isinstance(reply, Exception):
            raise reply
        return self.parsed(reply, args, options)

    def _execute_at_all(self, *args: Any, **options: Any) -> Any:
        replies: list[Reply] = []
        for place in self.map.masters:
            try:
                replies.append(self.map.client_of(place).execute_command(*args, **options))
            except redis.RedisError as error:
                replies.append(error)
        good = [reply for reply in replies if not isinstance(reply, Exception)]
        if not good:
            raise replies[0]
        return good[0]

    def parsed(self, reply: Reply, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Return a reply in the form that redis-py gives it."""
        callback = self.response_callbacks.get(args[0])
        given = {name: value for name, value in options.items() if name not in ("keys", "NEVER_DECODE")}
        return callback(reply, **given) if callback else reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "ClusterPipeline":
        """Return a pipeline; its commands are not a transaction."""
        return ClusterPipeline(self)

    def exchange(self, commands: Sequence[bytes]) -> list[Reply]:
        """Send packed commands, each to the master of its bucket, and return their replies in order.

        A reply that is an error, also one of the connection, stands in its place.
        """
        every = [_Sent(packed, find_slot((packed[:_KEY_BYTES],)) or 0) for packed in commands]
        deadline = time.monotonic() + PATIENCE_SECONDS + self._retries * RETRY_SECONDS
        left = every
        while left:
            self._exchange_once(left)
            left = self._to_send_again(left)
            if time.monotonic() > deadline:
                break
            if left and not any(each.asked for each in left):
                time.sleep(PAUSE_SECONDS)
        for each in left:
            if isinstance(each.reply, AskError):  # MOVED as well: it may be served in a moment, and is not rejected
                each.reply = redis.ConnectionError("the slot of the command is moving")
        return [each.reply for each in every]

    def _exchange_once(self, commands: Sequence[_Sent]) -> None:
        groups: defaultdict[tuple[Place, bool], list[_Sent]] = defaultdict(list)
        for each in commands:
            each.reply = None
            try:
                groups[each.asked or self.map.place_of(each.slot), each.asked is not None].append(each)
            except redis.RedisError as error:
                self._fail([each], error)
        open_connections: list[tuple[Any, Any, list[_Sent]]] = []
        try:
            for (place, is_asking), members in groups.items():
                pool = self.map.client_of(place).connection_pool
                try:
                    connection: Any = pool.get_connection()
                    open_connections.append((pool, connection, members))
                    asking = _ASKING if is_asking else b""
                    connection.send_packed_command([b"".join(asking + each.packed for each in members)])
                except (redis.RedisError, OSError) as error:
                    self._fail(members, error)
            for _, connection, members in open_connections:
                self._receive(connection, [each for each in members if each.reply is None])
        except BaseException:
            for _, connection, _ in open_connections:
                connection.disconnect()  # replies that nobody reads may be on their way
            raise
        finally:
            for pool, connection, _ in open_connections:
                pool.release(connection)

    def _receive(self, connection: Any, members: list[_Sent]) -> None:
        for number, each in enumerate(members):
            try:
                if each.asked:
                    with suppress(redis.ResponseError):  # the next reply is the command's, and says MOVED then
                        connection.read_response()
                each.reply = connection.read_response()
            except redis.ResponseError as error:
                each.reply = error
            except (redis.RedisError, OSError) as error:
                connection.disconnect()
                self._fail(members[number:], error)
                return

    def _fail(self, members: Sequence[_Sent], error: Exception) -> None:
        for each in members:
            each.reply = redis.ConnectionError(str(error))
            each.failures += 1
        with suppress(redis.RedisError):
            self.map.refresh()

    def _to_send_again(self, sent: Sequence[_Sent]) -> list[_Sent]:
        """Return the commands that may succeed now, and with each the later ones of its slot, to keep their order."""
        slots: set[int] = set()
        left: list[_Sent] = []
        for each in sent:
            each.asked = None
            match each.reply:
                case MovedError() as error:
                    self.map.move(each.slot, self._place(error))
                    slots.add(each.slot)
                case AskError() as error:
                    each.asked = self._place(error)
                    slots.add(each.slot)
                case redis.ResponseError() as error if _code_of(error) in _PASSING:
                    slots.add(each.slot)
                case redis.ConnectionError() if each.failures <= self._retries:
                    slots.add(each.slot)
                case _:
                    pass
            if each.slot in slots:
                left.append(each)
        return left

    def _place(self, error: AskError) -> Place:
        return error.host or self.map.place_of(error.slot_id)[0], error.port


def servers_of(client: redis.Redis) -> list[redis.Redis]:
    """Return a client of each server that holds keys of this one: of a cluster's masters, or the client itself.

    For SCAN, which looks at one server. Raises redis.ConnectionError while no map of the cluster is known.
    """
    return (
        [client.map.client_of(place) for place in client.map.masters] if isinstance(client, ClusterClient) else [client]
    )


def _code_of(error: redis.ResponseError) -> str:
    return error.status_code or str(error).partition(" ")[0]


class ClusterPipeline(Pipeline):
    """Commands for the masters of their buckets, sent at once; their replies come in order."""

    def __init__(self, client: ClusterClient) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction=False, shard_hint=None)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the commands; raises the first error among the replies, or with `raise_on_error` false returns all."""
        commands: list[Any] = list(self.command_stack)
        self.reset()
        replies = self._client.exchange([hiredis.pack_command(args) for args, _ in commands])
        for number, (args, options) in enumerate(commands):
            if isinstance(replies[number], Exception):
                if raise_on_error:
                    raise replies[number]
            else:
                replies[number] = self._client.parsed(replies[number], args, options)
        return replies
