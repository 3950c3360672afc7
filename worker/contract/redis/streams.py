"""Where generations are: the Redis of each one, and the Redis servers that sweeps and subscriptions go through.

A generation's keys are all on one server, its home: the stream node that its id names, or the control Redis,
`MILLRACE_REDIS_URL`, which also holds everything that is no generation's.

A node may be a Redis Cluster. Then the master that has a generation's bucket counts as its server: while that one does
not answer, the others' generations are not affected.

A node that has not answered for `MILLRACE_STREAM_LOST_SECONDS` is lost. Its generations are then looked up on the
control Redis, as are those of a node that the settings no longer name. It has none of them, so they count as absent:
their conversations and slots are free, and their readers get the stored answer or an error. Nothing creates, writes or
restores a generation away from its home.
"""

import random
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from millrace.worker.contract.ids import bucket_of, is_generation, new_generation, node_in
from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import ClusterMap, Place, slot_of
from millrace.worker.contract.redis.connection import MAX_CONNECTIONS, REPLY_SECONDS, Redis, connect
from millrace.worker.settings.schema import Settings

CONTROL = ""
"""The name of the control Redis as a node."""
_TRIES = 50  # for an id of a bucket whose master answers; it is found even where only a few buckets have one
LOST_SLACK_SECONDS = 3.0  # a worker first stores what it has of the answers, so that readers get that text


@dataclass
class NodeStatus:
    """Since when a node has not answered this process, in monotonic seconds; None while it does.

    Of a cluster, while any master does; its map has the status of each.
    """

    down_since: float | None = None
    cluster: ClusterMap | None = None


Server = tuple[str, Place | None]
"""A server that holds generations: its node's name, and its place where the node is a cluster."""


def _slot(generation: str) -> int:
    return slot_of(b"b%02d" % bucket_of(generation))


@dataclass(frozen=True, eq=False)
class StreamNode:
    """A Redis server that holds generations, and the name that their ids carry."""

    name: str
    redis: Redis
    status: NodeStatus = field(default_factory=NodeStatus)

    @property
    def is_up(self) -> bool:
        """Whether it answered when it was last asked; of a cluster, whether any master did."""
        return self.status.down_since is None

    @property
    def is_whole(self) -> bool:
        """Whether all of it answered when it was last asked: of a cluster, every master."""
        cluster = self.status.cluster
        return self.is_up and not (cluster is not None and cluster.down_masters)

    def down_since(self, generation: str) -> float | None:
        """Return since when the server that has a generation's bucket has not answered; None if it does."""
        cluster = self.status.cluster
        if cluster is not None and cluster.down and self.is_up and is_generation(generation):
            return cluster.down_since(_slot(generation))
        return self.status.down_since

    def server_of(self, generation: str) -> Server:
        """Return what names the server that has a generation's bucket, as far as the cluster's map is known."""
        cluster = self.status.cluster
        return self.name, None if cluster is None else cluster.known_master(_slot(generation))


class Streams:
    """The Redis servers that hold generations, as clients with the same time limits.

    Does no I/O itself. `nodes` never changes, and the control Redis is the first of them. Work on all nodes is
    done once per node, so that one that does not answer holds up no other. `NodeProbe` sets the status of each.
    """

    def __init__(
        self,
        control: Redis,
        nodes: Mapping[str, Redis] | None = None,
        *,
        draining: Collection[str] = (),
        lost_seconds: float = 60.0,
        statuses: Mapping[str, NodeStatus] | None = None,
    ) -> None:
        self.control = control
        known = statuses or {}
        given = {CONTROL: control, **(nodes or {})}
        self.nodes = tuple(StreamNode(name, redis, known.get(name) or _status(redis)) for name, redis in given.items())
        self.draining = frozenset(draining)
        self._named = {node.name: node for node in self.nodes[1:]}
        self._lost_seconds = lost_seconds

    @property
    def statuses(self) -> dict[str, NodeStatus]:
        """The status of each node, for other clients of this process that share it."""
        return {node.name: node.status for node in self.nodes}

    def of(self, generation: str) -> Redis:
        """Return the Redis on which a generation is looked up."""
        return self.node_of(generation).redis

    def node_of(self, generation: str) -> StreamNode:
        """Return the node on which a generation is looked up: its home, or the control Redis if that is lost."""
        home = self.home_of(generation)
        return self.nodes[0] if self._is_lost(home.down_since(generation)) else home

    def home_of(self, generation: str) -> StreamNode:
        """Return the node that holds a generation's keys; the control Redis for a name that no node has."""
        return self._named.get(node_in(generation), self.nodes[0]) if self._named else self.nodes[0]

    def is_lost(self, generation: str) -> bool:
        """Return whether its server has not answered for so long that the generation is given up."""
        return self._is_lost(self.home_of(generation).down_since(generation))

    def _is_lost(self, since: float | None) -> bool:
        return since is not None and time.monotonic() - since > self._lost_seconds + LOST_SLACK_SECONDS

    def answers(self, generation: str) -> bool:
        """Return whether a generation can be looked up now, as far as this process knows."""
        return self.node_of(generation).down_since(generation) is None

    def node(self, name: str) -> StreamNode:
        """Return the node with this name."""
        return next(node for node in self.nodes if node.name == name)

    def home_answers(self, generation: str) -> bool:
        """Return whether the server that holds a generation's keys answers, as far as this process knows."""
        return self.home_of(generation).down_since(generation) is None

    def redis_of(self, name: str) -> Redis:
        """Return the Redis of the node with this name."""
        return self.node(name).redis

    def group(self, generations: Iterable[str]) -> list[tuple[StreamNode, list[str]]]:
        """Return the generations by node, for calls that take many; nodes without one are left out."""
        groups: dict[StreamNode, list[str]] = {}
        for generation in generations:
            groups.setdefault(self.node_of(generation), []).append(generation)
        return list(groups.items())

    def open_nodes(self) -> list[StreamNode]:
        """Return the nodes that get new generations: those that do not drain, or else the control Redis."""
        return [node for node in self._named.values() if node.name not in self.draining] or [self.nodes[0]]

    def pick(self) -> str:
        """Return the name of the node for a new generation: any of those that answer, if one does."""
        nodes = self.open_nodes()
        return random.choice([node for node in nodes if node.is_up] or nodes).name

    def new_generation(self) -> str:
        """Return a fresh id on a server that answers, if one does."""
        for _ in range(_TRIES):
            generation = new_generation(self.pick())
            if self.home_answers(generation):
                return generation
        return new_generation(self.pick())

    def is_control(self, generation: str) -> bool:
        """Return whether the control Redis holds a generation, so that one round trip can reach both."""
        return self.home_of(generation) is self.nodes[0]

    def close(self) -> None:
        """Close the connections."""
        for node in self.nodes:
            node.redis.close()


def connect_streams(
    settings: Settings,
    *,
    timeout_seconds: float = REPLY_SECONDS,
    retries: int = 1,
    connections: int = MAX_CONNECTIONS,
    statuses: Mapping[str, NodeStatus] | None = None,
) -> Streams:
    """Return clients of all servers that hold generations, each made as `connect` makes one; they do no I/O yet.

    `statuses` are those of other clients of this process.
    """

    def client(name: str, url: str) -> Redis:
        cluster = statuses[name].cluster if statuses and name in statuses else None
        label = f"stream node {name}" if name else "control"
        return connect(
            url, label, timeout_seconds=timeout_seconds, retries=retries, connections=connections, cluster=cluster
        )

    return Streams(
        client(CONTROL, settings.redis.url),
        {name: client(name, url) for name, url in settings.redis.stream_nodes},
        draining=settings.redis.draining,
        lost_seconds=settings.redis.lost_seconds,
        statuses=statuses,
    )


def _status(redis: Redis) -> NodeStatus:
    return NodeStatus(cluster=redis.map if isinstance(redis, ClusterClient) else None)
