"""The state machine of the circuit breaker: dead probers; lost, repeated and late messages; lost data.

Redis's clock is a key here (`CLOCK`), so that every wait is exact and takes no time.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from millrace.worker.contract import breaker, scripts
from millrace.worker.contract.breaker import Breaker, Permission
from millrace.worker.contract.keys import breaker_keys
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.errors import RedisUnavailable
from tests.worker.contract.script_changes import changed_scripts

CANDIDATE = "bedrock:model"
CLOCK = ("return t[1] * 1000 + math.floor(t[2] / 1000)", "return tonumber(redis.call('GET', 'clock'))")
START_MS = 1_800_000_000_000
THRESHOLD, WINDOW_MS, OPEN_MS, LONGEST_MS, LEASE_MS = 2, 30_000, 10_000, 25_000, 40_000
RULES = {
    "breaker_failures": THRESHOLD,
    "breaker_window_seconds": WINDOW_MS / 1000,
    "breaker_open_seconds": OPEN_MS / 1000,
    "breaker_max_open_seconds": LONGEST_MS / 1000,
    "breaker_probe_seconds": LEASE_MS / 1000,
}

# The same runs each time, with and without a rule, so that a failure is caused by the missing rule.
SAME_RUNS = settings(
    max_examples=100,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class Fate(Enum):
    """The fate of one call of the script."""

    DELIVERED = 1
    REPLY_LOST = 2
    REQUEST_LOST = 3
    LATE = 4  # it arrives after later calls
    REPEATED = 5  # it arrives twice, the second time after later calls


@dataclass
class BreakerModel:
    """The law of one breaker, by the history of its present period."""

    period: str = ""
    openings: int = 0  # 0: closed
    failures: dict[str, int] = field(default_factory=dict[str, int])
    prober: str = ""
    due: int = 0

    def expect(self, verb: str, token: str, asked_in: str, now: int) -> tuple[str, int]:
        """Return the verdict of a call of the script, and the wait that it states."""
        if verb == "ask":
            return self._ask(token, now)
        is_prober = not self.openings or token == self.prober
        if asked_in != self.period or (verb != "succeeded" and not is_prober):
            return "late", max(0, self.due - now) if self.openings else 0
        if self.openings and verb == "succeeded":
            return self._turn(token, 0, now, 0, "closed")
        if self.openings and verb == "abandoned":
            self.prober, self.due = "", now
            return "freed", 0
        if not self.openings:
            self.failures = {each: at for each, at in self.failures.items() if now - WINDOW_MS < at <= now}
            self.failures.setdefault(token, now)
            if len(self.failures) < THRESHOLD:
                return "counted", 0
        wait = (OPEN_MS, 2 * OPEN_MS, LONGEST_MS)[min(self.openings, 2)]
        return self._turn(token, self.openings + 1, now, wait, "opened")

    def _ask(self, token: str, now: int) -> tuple[str, int]:
        if not self.openings:
            return "closed", 0
        wait = self.due - now
        was_set_back = wait > max(LONGEST_MS, LEASE_MS)
        if wait > 0 and token != self.prober and not was_set_back:
            return "open", wait
        self.prober, self.due = token, now + LEASE_MS
        return "probe", 0

    def _turn(self, period: str, openings: int, now: int, wait: int, verdict: str) -> tuple[str, int]:
        self.period, self.openings, self.failures, self.prober, self.due = period, openings, {}, "", now + wait
        return verdict, wait


class Wire:
    """Stands in for the script: a call has a fate, and each execution is compared with the model."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.model = BreakerModel()
        self.now = START_MS
        self.fate = Fate.DELIVERED
        self.in_flight: list[Callable[[], object]] = []

    def __call__(self, redis: Redis, keys: Sequence[str], *arguments: Any) -> Any:
        fate, self.fate = self.fate, Fate.DELIVERED
        if fate in (Fate.LATE, Fate.REPEATED):
            self.in_flight.append(lambda: self.execute(redis, keys, arguments))
        reply = None if fate in (Fate.REQUEST_LOST, Fate.LATE) else self.execute(redis, keys, arguments)
        if reply is None or fate is Fate.REPLY_LOST:
            raise RedisUnavailable(fate.name)
        return reply

    def execute(self, redis: Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        verb, token, asked_in = arguments[:3]
        expected = self.model.expect(verb, token, asked_in, self.now)
        reply = scripts.BREAKER(redis, keys, *arguments)
        verdict, period, wait = reply[0].decode(), reply[1].decode(), reply[2]
        assert (verdict, wait) == expected, f"{verb}: {verdict} {wait}, expected {expected}"
        assert period == self.model.period
        assert self.redis.zcard(keys[1]) < THRESHOLD
        return reply

    def move_clock(self, ms: int) -> None:
        self.now += ms
        self.redis.set("clock", self.now)


@dataclass
class Probe:
    """A probe that has not reported, as its process knows it."""

    permission: Permission
    until: int


places = st.integers(0, 30)  # taken modulo the number of candidates
FATES = (*[Fate.DELIVERED] * 6, *[Fate.REPEATED] * 4, *Fate)
STEPS = (
    *product(["ask"] * 3 + ["fail"] * 4 + ["succeed", "abandon"], FATES),
    *product(
        ["wait"] * 4 + ["arrive"] * 4 + ["overtake", "crash", "save", "restart", "set back"], [Fate.DELIVERED] * 8
    ),
)
OPENINGS = (0, 1, 2, 3)
BEGINNINGS = (
    "nothing_happens",
    "overtake",
    "probers_overtake",
    "probers_give_up",
    "clock_is_set_back",
    "question_is_repeated",
    "failure_is_repeated",
    "next_failure_is_the_first_again",
)
WAITS = (1, OPEN_MS - 1, OPEN_MS, 2 * OPEN_MS, 2 * OPEN_MS, LEASE_MS - 1, LEASE_MS)


class BreakerMachine(RuleBasedStateMachine):
    """Any process may ask and report at any time."""

    def __init__(self, redis: Redis, breakers: Sequence[Breaker], wire: Wire) -> None:
        super().__init__()
        redis.flushall()
        wire.__init__(redis)
        wire.move_clock(0)
        self.wire, self.breakers = wire, breakers
        self.calls: list[tuple[Breaker, Permission]] = []
        self.probes: list[Probe] = []
        self.saved: tuple[BreakerModel, list[bytes | None]] | None = None

    @initialize(openings=st.sampled_from(OPENINGS), then=st.sampled_from(BEGINNINGS))
    def begin(self, openings: int, then: str) -> None:
        """Begin in the middle: most runs start in a state that few would reach by chance."""
        for number in range(openings):
            for _ in range(1 if number else THRESHOLD):
                self.ask(self.breakers[0], Fate.REPEATED)
            while self.calls:
                self.report("fail", 0, Fate.DELIVERED)
            if number < openings - 1:
                self.wire.move_clock(LONGEST_MS)
        getattr(self, then)()

    def nothing_happens(self) -> None:
        pass

    def probers_overtake(self) -> None:
        """Let two probers be too slow; the third closes the breaker, and news of the first two comes late."""
        self.calls.clear()
        self.wire.move_clock(LONGEST_MS)
        self.overtake()
        self.wire.move_clock(LEASE_MS)
        self.ask(self.breakers[0], Fate.DELIVERED)
        for what, place in (("fail", 0), ("succeed", -1), ("fail", -1)):
            self.report(what, place, Fate.DELIVERED)

    def probers_give_up(self) -> None:
        self.wire.move_clock(LONGEST_MS)
        for _ in range(2):
            self.ask(self.breakers[0], Fate.DELIVERED)
            self.report("abandon", -1, Fate.DELIVERED)

    def clock_is_set_back(self) -> None:
        self.fail_once(Fate.DELIVERED)
        self.wire.move_clock(-10 * LEASE_MS)
        self.fail_once(Fate.DELIVERED)

    def question_is_repeated(self) -> None:
        self.wire.move_clock(LONGEST_MS)
        self.ask(self.breakers[0], Fate.REPEATED)
        self.arrive(-1)

    def failure_is_repeated(self) -> None:
        """Let a failure arrive once more, and the window end for its first report only."""
        self.fail_once(Fate.REPEATED)
        self.wire.move_clock(2 * OPEN_MS)
        self.arrive(-1)
        self.wire.move_clock(2 * OPEN_MS)

    def next_failure_is_the_first_again(self) -> None:
        self.failure_is_repeated()
        self.fail_once(Fate.DELIVERED)

    @rule(step=st.sampled_from(STEPS), place=places)
    def act(self, step: tuple[str, Fate], place: int) -> None:
        what, fate = step
        match what:
            case "ask":
                self.ask(self.breakers[place % len(self.breakers)], fate)
            case "fail" | "succeed" | "abandon":
                if not self.calls:
                    self.ask(self.breakers[0], Fate.DELIVERED)
                self.report(what, place, fate)
            case "wait":
                self.wire.move_clock(WAITS[place % len(WAITS)])
            case "arrive":
                self.arrive(-1 if place % 2 else place)
            case "overtake":
                self.overtake()
            case "crash":
                dead = self.breakers[place % len(self.breakers)]
                self.calls = [each for each in self.calls if each[0] is not dead]
            case "save":
                self.saved = copy.deepcopy(self.wire.model), [self.wire.redis.dump(key) for key in self.keys]
            case "restart":
                self.restart()
            case _:
                self.wire.move_clock(-10 * LEASE_MS)
                self.probes.clear()

    keys = breaker_keys(CANDIDATE)

    def fail_once(self, fate: Fate) -> None:
        self.ask(self.breakers[0], Fate.DELIVERED)
        self.report("fail", -1, fate)

    def ask(self, process: Breaker, fate: Fate) -> None:
        was_open, before = self.wire.model.openings > 0, self.wire.model.due
        self.wire.fate = fate
        permission = process.ask(CANDIDATE)
        if permission.token:
            self.calls.append((process, permission))
            assert permission.is_allowed or permission.wait_seconds == (before - self.wire.now) / 1000
        else:
            assert permission == Permission(CANDIDATE), "without Redis, a call is allowed and is no probe"
        assert was_open or permission == Permission(CANDIDATE, token=permission.token, period=permission.period)
        if permission.is_probe:
            rivals = [each for each in self.probes if each.permission.period == permission.period]
            assert all(each.until <= self.wire.now for each in rivals), "two calls probe at once"
            self.probes.append(Probe(permission, self.wire.now + LEASE_MS))

    def arrive(self, place: int) -> None:
        """Deliver a message that was delayed, or sent twice."""
        if self.wire.in_flight:
            self.wire.in_flight.pop(place if place < 0 else place % len(self.wire.in_flight))()

    def overtake(self) -> None:
        """Let a call take longer than a probe's lease, and ask again."""
        self.ask(self.breakers[0], Fate.REPEATED)
        self.wire.move_clock(LEASE_MS)
        self.ask(self.breakers[1], Fate.DELIVERED)

    def report(self, what: str, place: int, fate: Fate) -> None:
        process, permission = self.calls.pop(place % len(self.calls))
        self.wire.fate = fate
        getattr(process, {"fail": "failed", "succeed": "succeeded", "abandon": "abandoned"}[what])(permission)
        self.wire.fate = Fate.DELIVERED  # a report may need no call
        self.probes = [each for each in self.probes if each.permission is not permission]

    def restart(self) -> None:
        """Lose everything since the last saved state."""
        model, values = self.saved or (BreakerModel(), [None, None])
        self.wire.model = copy.deepcopy(model)
        self.wire.redis.delete(*self.keys)
        for key, value in zip(self.keys, values, strict=True):
            if value is not None:
                self.wire.redis.restore(key, 0, value)
        self.probes.clear()

    def teardown(self) -> None:
        """After the longest open time and the longest lease, a call is allowed, even if every prober has died."""
        self.wire.move_clock(max(LONGEST_MS, LEASE_MS))
        assert self.breakers[0].ask(CANDIDATE).is_allowed


def run_beginnings(redis: Redis, breakers: Sequence[Breaker], *changes: tuple[str, str]) -> None:
    """Run the beginnings alone: they are the same on every machine, whatever Hypothesis draws there."""
    with _script_of_the_test(redis, changes) as wire:
        for openings, then in product(OPENINGS, BEGINNINGS):
            machine = BreakerMachine(redis, breakers, wire)
            machine.begin(openings, then)
            machine.teardown()


def run(redis: Redis, breakers: Sequence[Breaker], *changes: tuple[str, str], runs: settings = SAME_RUNS) -> None:
    """Run the machine with the script as it is, or changed; raises the first failure."""
    with _script_of_the_test(redis, changes) as wire:
        run_state_machine_as_test(lambda: BreakerMachine(redis, breakers, wire), settings=runs)  # pyright: ignore[reportArgumentType] - it takes any factory


@contextmanager
def _script_of_the_test(redis: Redis, changes: Sequence[tuple[str, str]]) -> Generator[Wire]:
    wire = Wire(redis)
    with (
        changed_scripts(redis, [CLOCK, *changes]),
        patch.object(breaker, "BREAKER", wire),
        patch.object(breaker, "PAUSE_SECONDS", 0.0),
    ):
        yield wire
