"""A client of a Redis Cluster, for the keys of generations: their hash tag, `{bNN}`, decides which master has them.

```text
 command ──▶ slot of its {bNN} ──▶ master by the map ──▶ reply
                                    ▲      │ MOVED: the map is read again      ASK: asked once, at the other master
                                    └──────┘ TRYAGAIN, CLUSTERDOWN: after a pause
```

Every command here names keys of one bucket only, so that it has one master. Commands for several masters are sent and
read for each of them at the same time. A master that is away or hangs fails its own commands only; the call returns
when the slowest master has answered or reached its time limit. One that the map knows to be down is not waited for,
unless the call is for this one alone.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import hiredis
import redis
from redis.client import Pipeline
from redis.exceptions import AskError, MovedError

from millrace.worker.contract.redis.cluster_map import ClusterMap, Place, find_slot, run_at_once, text_of
from millrace.worker.contract.redis.named_client import NamedClient, note_server

Reply = Any

PAUSE_SECONDS = 0.05  # between tries while a slot moves or a master is being replaced
PATIENCE_SECONDS = 0.1  # for a slot that moves; afterwards the command counts as one that Redis cannot serve
RETRY_SECONDS = 1.0  # the same for each retry of a client: someone waits for it, but no loop that serves others

AT_ANY_MASTER = ("PING", "TIME", "INFO", "CONFIG GET")
"""The commands without a bucket that one master answers for all."""
AT_EVERY_MASTER = ("SCRIPT LOAD", "SCRIPT FLUSH")
"""The commands without a bucket that are run at every master. Any other one is refused."""

_PASSING = ("TRYAGAIN", "CLUSTERDOWN")
_ASKING = b"*1\r\n$6\r\nASKING\r\n"
_KEY_BYTES = 256  # of a packed command, within which its first key stands


@dataclass
class _Sent:
    """One command of an exchange; `asked` is the node that an ASK has named, for one try."""

    packed: bytes
    slot: int
    asked: Place | None = None
    reply: Reply = None
    failures: int = 0


class ClusterClient(NamedClient):
    """A client for commands about the keys of generations; each is sent to the master that has its bucket.

    `make` returns a client of one master. `pool` is one of connections to any node, for pub/sub: a cluster passes each
    message on to all its nodes. A command whose connection fails is sent again up to `retries` times. `owns_map`: no
    other client shares the map.
    """

    def __init__(
        self,
        cluster_map: ClusterMap,
        make: Callable[[Place], redis.Redis],
        pool: redis.ConnectionPool,
        retries: int,
        *,
        owns_map: bool = True,
    ) -> None:
        super().__init__(connection_pool=pool)
        self.map = cluster_map
        self._make = make
        self._clients: dict[Place, redis.Redis] = {}
        self._retries = retries
        self._owns_map = owns_map

    def close(self) -> None:
        """Close the connections to all nodes."""
        for client in self._clients.values():
            client.close()
        if self._owns_map:
            self.map.close()
        self.connection_pool.disconnect()

    def client_of(self, place: Place) -> redis.Redis:
        """Return the client of one node."""
        if place not in self._clients:
            self._clients[place] = self._make(place)
        return self._clients[place]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at the master of its bucket; one of those without a bucket at any or at every master.

        Raises ValueError for any other command without a bucket: it would reach the keys of one master only.
        """
        if find_slot(args) is None:
            return self._execute_without_bucket(*args, **options)
        (reply,) = self.exchange([hiredis.pack_command(args)])
        if isinstance(reply, Exception):
            raise reply
        return self.parsed(reply, args, options)

    def _execute_without_bucket(self, *args: Any, **options: Any) -> Any:
        if args[0] not in AT_ANY_MASTER + AT_EVERY_MASTER:
            raise ValueError(f"{args[0]} names no bucket of generations, and a cluster has no keys without one")
        replies: list[Reply] = []
        for place in sorted(self.map.masters, key=lambda each: each in self.map.down):
            try:
                replies.append(self.client_of(place).execute_command(*args, **options))
            except redis.RedisError as error:
                note_server(error, self._label_of(place))
                replies.append(error)
            else:
                if args[0] in AT_ANY_MASTER:
                    break
        good = [reply for reply in replies if not isinstance(reply, Exception)]
        if not good:
            raise replies[0]
        return good[0]

    def load(self, source: str, commands: Sequence[bytes]) -> None:
        """Load a script at the masters that these packed calls of it are for; raises redis.RedisError."""
        for place in {self.map.place_of(_slot_of(each)) for each in commands}:
            self.client_of(place).script_load(source)

    def parsed(self, reply: Reply, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Return a reply in the form that redis-py gives it."""
        callback = self.response_callbacks.get(args[0])
        given = {name: value for name, value in options.items() if name not in ("keys", "NEVER_DECODE")}
        return callback(reply, **given) if callback else reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "ClusterPipeline":
        """Return a pipeline; its commands are not a transaction."""
        return ClusterPipeline(self)

    def exchange(self, commands: Sequence[bytes], slots: Sequence[int] | None = None) -> list[Reply]:
        """Send packed commands, each to the master of its bucket or of its slot, and return their replies in order.

        A reply that is an error, also one of the connection, stands in its place. Raises ValueError for a command
        without a bucket.
        """
        slots = slots or [_slot_of(packed) for packed in commands]
        every = [_Sent(packed, slot) for packed, slot in zip(commands, slots, strict=True)]
        deadline = time.monotonic() + PATIENCE_SECONDS + self._retries * RETRY_SECONDS
        left = every
        several = len({self.map.known_master(slot) for slot in slots}) > 1
        while left:
            self._exchange_once(left, skips_down=several)
            left = self._to_send_again(left)
            if time.monotonic() > deadline:
                break
            if left and not any(each.asked for each in left):
                time.sleep(PAUSE_SECONDS)
        for each in left:
            if isinstance(each.reply, AskError):  # MOVED as well: it may be served in a moment, and is not rejected
                each.reply = redis.ConnectionError("the slot of the command is moving")
                note_server(each.reply, self.label)
        return [each.reply for each in every]

    def _exchange_once(self, commands: Sequence[_Sent], *, skips_down: bool) -> None:
        groups: defaultdict[tuple[Place, bool], list[_Sent]] = defaultdict(list)
        for each in commands:
            each.reply = None
            try:
                groups[each.asked or self.map.place_of(each.slot), each.asked is not None].append(each)
            except redis.RedisError as error:
                self._fail([each], error)
        down = [key for key in groups if skips_down and key[0] in self.map.down]
        for place, is_asking in down:  # which holds up no others; a call for it alone waits, as it may be back
            error = redis.ConnectionError("it does not answer")
            self._fail(groups.pop((place, is_asking)), error, place)
        if len(groups) == 1:
            (((place, _), members),) = groups.items()
            self._exchange_with(place, members)
        elif groups:  # at the same time: with one that hangs, already connecting takes the whole time limit
            run_at_once([partial(self._exchange_with, place, members) for (place, _), members in groups.items()])

    def _exchange_with(self, place: Place, members: Sequence[_Sent]) -> None:
        """Send the commands to one master, then read the replies: either all `asked` this one or none."""
        pool = self.client_of(place).connection_pool
        try:
            connection: Any = pool.get_connection()
        except (redis.RedisError, OSError) as error:
            self._fail(members, error, place)
            return
        read = 0
        try:
            asking = _ASKING if members[0].asked else b""
            connection.send_packed_command([b"".join(asking + each.packed for each in members)])
            for each in members:
                self._receive(connection, each, place)
                read += 1
        except (redis.RedisError, OSError) as error:
            connection.disconnect()
            self._fail(members[read:], error, place)
        except BaseException:
            connection.disconnect()  # replies that nobody reads may be on their way
            raise
        finally:
            pool.release(connection)

    def _receive(self, connection: Any, sent: _Sent, place: Place) -> None:
        if sent.asked:
            with suppress(redis.ResponseError):  # the next reply is the command's, and says MOVED then
                connection.read_response()
        try:
            sent.reply = connection.read_response()
        except redis.ResponseError as error:
            note_server(error, self._label_of(place))
            sent.reply = error

    def _fail(self, members: Sequence[_Sent], error: Exception, place: Place | None = None) -> None:
        for each in members:
            each.reply = redis.ConnectionError(str(error))
            note_server(each.reply, self._label_of(place))
            each.failures += 1
        with suppress(redis.RedisError):
            self.map.refresh(place)

    def _label_of(self, place: Place | None) -> str:
        return f"{self.label}, master {text_of(place)}" if place else self.label

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
    return [client.client_of(place) for place in client.map.masters] if isinstance(client, ClusterClient) else [client]


def _slot_of(packed: bytes) -> int:
    slot = find_slot((packed[:_KEY_BYTES],))
    if slot is None:
        raise ValueError("a command names no bucket of generations, and a cluster has no keys without one")
    return slot


def _code_of(error: redis.ResponseError) -> str:
    return error.status_code or str(error).partition(" ")[0]


class ClusterPipeline(Pipeline):
    """Commands for the masters of their buckets, sent at once; their replies come in order.

    One that any master can answer, such as TIME, goes to the master of the command before it.
    """

    def __init__(self, client: ClusterClient) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction=False, shard_hint=None)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the commands; raises the first error among the replies, or with `raise_on_error` false returns all."""
        commands: list[Any] = list(self.command_stack)
        self.reset()
        slots: list[int] = []
        for args, _ in commands:
            slot = find_slot(args)
            if slot is None and not (slots and args[0] in AT_ANY_MASTER):
                raise ValueError(f"{args[0]} names no bucket of generations, and a cluster has no keys without one")
            slots.append(slots[-1] if slot is None else slot)
        replies = self._client.exchange([hiredis.pack_command(args) for args, _ in commands], slots)
        for number, (args, options) in enumerate(commands):
            if isinstance(replies[number], Exception):
                if raise_on_error:
                    raise replies[number]
            else:
                replies[number] = self._client.parsed(replies[number], args, options)
        return replies
