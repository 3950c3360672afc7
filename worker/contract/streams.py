"""Where generations are: the Redis of each one, and the Redis servers that sweeps and subscriptions go through.

A generation's keys are all on one server. Everything else is on the control Redis, `MILLRACE_REDIS_URL`, which also
holds the generations whose ids name no node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace.worker.contract.connection import MAX_CONNECTIONS, REPLY_SECONDS, Redis, connect
from millrace.worker.settings.schema import Settings

CONTROL = ""
"""The name of the control Redis as a node."""


@dataclass(frozen=True, eq=False)
class StreamNode:
    """A Redis server that holds generations, and the name that their ids carry."""

    name: str
    redis: Redis


class Streams:
    """The Redis servers that hold generations, as clients with the same time limits.

    Does no I/O itself. `nodes` never changes: what works on all of them runs once per node, so that one that does not
    answer holds up no other.
    """

    def __init__(self, control: Redis, nodes: Mapping[str, Redis] | None = None) -> None:
        self.control = control
        self.nodes = (StreamNode(CONTROL, control), *(StreamNode(*each) for each in (nodes or {}).items()))

    def of(self, generation: str) -> Redis:
        """Return the Redis that holds a generation's keys."""
        return self.node_of(generation).redis

    def node_of(self, generation: str) -> StreamNode:
        """Return the node that holds a generation's keys."""
        return self.nodes[0]

    def redis_of(self, name: str) -> Redis:
        """Return the Redis of the node with this name."""
        return next(node.redis for node in self.nodes if node.name == name)

    def group(self, generations: Iterable[str]) -> list[tuple[StreamNode, list[str]]]:
        """Return the generations by node, for calls that take many; nodes without one are left out."""
        groups: dict[StreamNode, list[str]] = {}
        for generation in generations:
            groups.setdefault(self.node_of(generation), []).append(generation)
        return list(groups.items())

    def is_control(self, generation: str) -> bool:
        """Return whether the control Redis holds a generation, so that one round trip can reach both."""
        return self.of(generation) is self.control

    def close(self) -> None:
        """Close the connections."""
        for node in self.nodes:
            node.redis.close()


def connect_streams(
    settings: Settings, *, timeout_seconds: float = REPLY_SECONDS, retries: int = 1, connections: int = MAX_CONNECTIONS
) -> Streams:
    """Return clients of all servers that hold generations, each made as `connect` makes one; they do no I/O yet."""
    return Streams(
        connect(settings.redis.url, timeout_seconds=timeout_seconds, retries=retries, connections=connections)
    )
