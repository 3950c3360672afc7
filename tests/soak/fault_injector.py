"""The faults that the soak injects, each with its frequency; each returns whether it took effect."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import redis

from millrace.worker.contract.queue import TaskQueue
from millrace.worker.errors import QueueUnavailable
from millrace.worker.settings.schema import load
from tests.faults.rig import Child, Rig
from tests.faults.tcp_proxy import TcpProxy
from tests.soak.population import STUCK_SECONDS, Population

LOOK_SECONDS = 0.02
EMPTY_SECONDS = STUCK_SECONDS + 20
"""Between two losses of everything: what is stuck must have the time to be found before it may lawfully be gone."""


@dataclass
class FaultInjector:
    """Does faults to a rig, in a thread of its own; `done` counts those that took effect, by kind."""

    rig: Rig
    proxy: TcpProxy
    population: Population
    rng: random.Random
    done: dict[str, int] = field(default_factory=dict[str, int])
    tried: int = 0
    asleep: list[tuple[float, Child]] = field(default_factory=list[tuple[float, Child]])
    _is_resting: bool = False
    _work: Future[None] = field(default_factory=Future[None])
    _empty_until: float = 0.0

    def __post_init__(self) -> None:
        self.store = redis.Redis(port=self.rig.valkey.port, socket_timeout=10)
        self.task_queue = TaskQueue(load({"MILLRACE_REDIS_URL": self.rig.valkey.url}))

    @contextmanager
    def at_work(self, rate: float) -> Generator[None]:
        """Do faults, so many a second as far as each lets the next come, until `rest` is called."""
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            self._work = pool.submit(self._go_on, rate, over)
            try:
                yield
            finally:
                over.set()
            self._work.result()

    def check(self) -> None:
        """Raise what ended the faults before their time, if anything did: a soak without them would find nothing."""
        if self._work.done():
            self._work.result()

    def rest(self) -> None:
        """Do no more faults; who died is still started again."""
        self._is_resting = True

    def _go_on(self, rate: float, over: threading.Event) -> None:
        next_fault = time.monotonic()
        while not over.wait(LOOK_SECONDS):
            self.tend()
            if not self._is_resting and self.population.is_full_once and time.monotonic() > next_fault:
                next_fault = time.monotonic() + self.rng.expovariate(rate)
                self.one()

    def one(self) -> None:
        """Do one fault, drawn by weight."""
        kinds = list(self.kinds().items())
        ((name, (_, act)),) = self.rng.choices(kinds, [weight for _, (weight, _) in kinds])
        self.tried += 1
        took_effect = False
        with suppress(redis.RedisError, QueueUnavailable, ProcessLookupError):
            took_effect = act()
        if took_effect:
            self.done[name] = self.done.get(name, 0) + 1

    def kinds(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        """Return every kind of fault with its weight."""
        return {
            "cancel": (20, lambda: self.population.cancel_one(self.rng)),
            "reader drops": (40, self.drop_readers),
            "task delivered again": (20, self.ring_again),
            "pub/sub connection killed": (12, lambda: self.store.client_kill_filter(_type="pubsub") > 0),
            "scripts forgotten": (8, lambda: bool(self.store.script_flush())),
            "every Redis connection cut": (5, self.cut),
            "Redis connections half open": (3, self.swallow),
            "worker killed": (5, lambda: self.end(self.rig.workers, signal.SIGKILL)),
            "worker told to end": (7, lambda: self.end(self.rig.workers, signal.SIGTERM)),
            "worker stands still": (7, lambda: self.freeze(self.rig.workers)),
            "web killed": (4, lambda: self.end(self.rig.webs, signal.SIGKILL)),
            "web told to end": (3, lambda: self.end(self.rig.webs, signal.SIGTERM)),
            "Redis stalls": (3, self.stall),
            "Redis restarts": (2.5, lambda: self.restart(signal.SIGTERM)),
            "Redis loses its tail": (3.5, self.lose_tail),
            "Redis restarts empty": (6, self.lose_all),
            "Redis out of memory": (3, self.out_of_memory),
            "Redis read-only": (2.5, self.read_only),
        }

    def drop_readers(self) -> bool:
        """Cut a reader's connection, from the client's side."""
        flight = self.population.any_one(self.rng)
        return flight is not None and flight.follower.drop()

    def ring_again(self) -> bool:
        """Deliver a task once more."""
        flight = self.population.any_one(self.rng)
        if flight is not None:
            self.task_queue.enqueue(flight.generation)
        return flight is not None

    def cut(self) -> bool:
        """Cut every connection to Redis."""
        self.proxy.cut()
        return True

    def swallow(self) -> bool:
        """Let every connection to Redis that is open now swallow what it is given."""
        self.proxy.swallow()
        return True

    def end(self, among: list[Child], how: signal.Signals) -> bool:
        """Kill one process, or tell it to end; it is started again by `tend`."""
        awake = [child for child in among if child.is_alive and child not in [each for _, each in self.asleep]]
        if len(awake) < 2:
            return False
        child = self.rng.choice(awake)
        child.signal(how)
        return True

    def freeze(self, among: list[Child]) -> bool:
        """Let one process stand still beyond its lease."""
        awake = [child for child in among if child.is_alive]
        if self.asleep or len(awake) < 2:
            return False
        child = self.rng.choice(awake)
        child.signal(signal.SIGSTOP)
        self.asleep.append((time.monotonic() + self.rng.uniform(4, 9), child))
        return True

    def stall(self) -> bool:
        """Let Redis stand still for some seconds."""
        self.rig.valkey.signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.5, 6))
        self.rig.valkey.signal(signal.SIGCONT)
        self.population.note_return()
        return True

    def restart(self, how: signal.Signals) -> bool:
        """Restart Redis with its data."""
        self.rig.valkey.stop(how)
        self._start_redis()
        return True

    def lose_tail(self) -> bool:
        """Restart Redis without its newest writes."""
        self.population.note_loss()
        self.rig.valkey.stop()
        took = self.rig.valkey.lose_tail(self.rng.randint(500, 60_000))
        self._start_redis()
        self.population.note_loss()
        return took

    def lose_all(self) -> bool:
        """Restart Redis empty; False where it was, not long ago."""
        if time.monotonic() < self._empty_until:
            return False
        self._empty_until = time.monotonic() + EMPTY_SECONDS
        self.population.note_loss()
        self.rig.valkey.stop()
        self.rig.valkey.wipe()
        self._start_redis()
        self.population.note_loss()
        return True

    def out_of_memory(self) -> bool:
        """Let Redis refuse writes for want of memory, for a while."""
        self.store.config_set("maxmemory", 1)
        time.sleep(self.rng.uniform(0.2, 2))
        self.store.config_set("maxmemory", 0)
        self.population.note_return()
        return True

    def read_only(self) -> bool:
        """Let Redis refuse writes as a replica, for a while."""
        self.store.execute_command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(self.rng.uniform(0.2, 2))
        self.store.execute_command("REPLICAOF", "NO", "ONE")
        self.population.note_return()
        return True

    def _start_redis(self) -> None:
        self.rig.valkey.start()
        self.population.note_return()

    def tend(self) -> None:
        """Wake who has slept enough, and start again who has died, as a supervisor does."""
        for until, child in list(self.asleep):
            if time.monotonic() > until:
                self.asleep.remove((until, child))
                with suppress(AssertionError, ProcessLookupError):
                    child.signal(signal.SIGCONT)
        for among in (self.rig.workers, self.rig.webs):
            for place, child in enumerate(among):
                if not child.is_alive:
                    with suppress(subprocess.TimeoutExpired):
                        among[place] = child.again()
