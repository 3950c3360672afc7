"""A cluster of real Valkey processes: three masters, the first of which has a replica."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import redis
from redis.crc import key_slot

from tests.valkey import ValkeyProcess, free_port

SLOTS = 16384
MASTERS = 3
NODE_TIMEOUT_MS = 2000


class RedisCluster:
    """`url` names two of its nodes; `nodes` are the masters and then the replica of the first.

    While a master is away, the others serve.
    """

    def __init__(self, directory: Path) -> None:
        self.nodes: list[ValkeyProcess] = []
        self._bus_ports: list[int] = []
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
        options += ("--cluster-require-full-coverage", "no")
        for number in range(MASTERS + 1):
            own = directory / f"node{number}"
            own.mkdir()
            self._bus_ports.append(free_port())
            bus = ("--cluster-port", str(self._bus_ports[-1]))
            self.nodes.append(ValkeyProcess(own, *options, *bus, "--repl-diskless-sync-delay", "0"))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        with first.client() as client:
            for node, bus_port in zip(self.nodes[1:], self._bus_ports[1:], strict=True):
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        for number, node in enumerate(self.nodes[:MASTERS]):
            begin, end = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
        replica = self.nodes[-1]
        self._await(lambda: self._knows_everyone(replica), "the nodes to know each other")
        with replica.client() as client:
            client.execute_command("CLUSTER", "REPLICATE", self.id_of(first))
        self._await(lambda: all(self._is_ready(node) for node in self.nodes), "the cluster to serve")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.stop()

    def id_of(self, node: ValkeyProcess) -> str:
        """Return the id of a node."""
        with node.client() as client:
            return cast("bytes", client.execute_command("CLUSTER", "MYID")).decode()

    def slot_of(self, bucket: int) -> int:
        """Return the slot of a bucket of generations."""
        return key_slot(b"b%02d" % bucket)

    def master_of(self, bucket: int) -> ValkeyProcess:
        """Return the master that has a bucket, according to the last of the other nodes that runs."""
        slot = self.slot_of(bucket)
        node = next(node for node in reversed(self.nodes) if node.process is not None)
        with node.client() as client:
            for first, last, master, *_ in cast("list[Any]", client.execute_command("CLUSTER SLOTS")):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == master[1])
        raise AssertionError(f"no master has {slot}")

    def move(self, bucket: int, to: ValkeyProcess) -> None:
        """Move a bucket's slot with its keys to another master, key by key, as `--cluster reshard` does."""
        slot, source = self.slot_of(bucket), self.master_of(bucket)
        with source.client() as giving, to.client() as taking:
            taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
            giving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
            while keys := cast("list[bytes]", giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1)):
                giving.execute_command("MIGRATE", "127.0.0.1", to.port, keys[0], 0, 5000)
        for node in (to, source, *self.nodes):
            if node.process is not None:
                with node.client() as client:
                    if cast("list[Any]", client.execute_command("ROLE"))[0] == b"master":
                        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))

    def _knows_everyone(self, node: ValkeyProcess) -> bool:
        with node.client() as client:
            text = str(cast("object", client.execute_command("CLUSTER", "NODES")))
        return text.count("connected") >= len(self.nodes) and "handshake" not in text

    def _is_ready(self, node: ValkeyProcess) -> bool:
        with node.client() as client:
            ranges = cast("list[list[Any]]", client.execute_command("CLUSTER SLOTS"))
            masters = {tuple(each[2][:2]) for each in ranges}
            has_replica = any(len(each) > MASTERS for each in ranges)
            info = str(cast("object", client.execute_command("CLUSTER", "INFO")))
        return len(masters) == MASTERS and has_replica and "cluster_state:ok" in info

    def _await(self, is_so: Callable[[], bool], awaited: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if is_so():
                    return
            except redis.RedisError:
                pass
            assert time.monotonic() < deadline, f"timed out: {awaited}"
            time.sleep(0.05)
