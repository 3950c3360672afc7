"""The generations in flight during the soak, and the readers that check them."""

import random
import time
from bisect import bisect
from dataclasses import dataclass, field
from itertools import pairwise

import httpx

from tests.client import Client, Json, Received, emulate, outcomes_of
from tests.faults.follower import Follower
from tests.faults.rig import Rig

END_SECONDS = 240.0
"""Every generation must have ended by then: some of the most attempts that it may take, each an answer's length."""

STUCK_SECONDS = 55.0
"""The longest that a reader may be told nothing: a lease, a suspicion, a late takeover, and Redis's absences."""

PROVIDERS_OWN = ("provider_unavailable", "provider_throttled", "provider_rejected", "truncated")
"""Error codes that are lawful only where the model was told to fail."""

FAULTS = ("disconnect", "throttle", "corrupt", "no_stop", "stream_error", "unavailable")


@dataclass
class TrackedGeneration:
    """One generation on its way: who asked, when, the reader that judges it, and what may lawfully happen to it."""

    client: Client
    generation: str
    text: str
    asked_at: float
    follower: Follower
    cancelled: bool = False
    fault: str | None = None
    losses: int = 0
    """How often Redis had forgotten writes before it was asked; where that is more by now, it may lawfully be gone."""

    @property
    def silence(self) -> float:
        """Seconds since its reader received the last event."""
        received = self.follower.received
        return time.monotonic() - (received[-1].at if received else self.asked_at)


@dataclass
class Population:
    """Keeps `size` generations in flight; `reap` judges those that ended."""

    rig: Rig
    rng: random.Random
    size: int
    flights: list[TrackedGeneration] = field(default_factory=list[TrackedGeneration])
    is_full_once: bool = False
    losses: int = 0
    asked: int = 0
    refused: int = 0
    checked: int = 0
    gone: int = 0
    otherwise: int = 0
    """How many Redis forgot after their outcome was told, and whose next attempt came to another one."""
    outcomes: dict[str, int] = field(default_factory=dict[str, int])
    violations: list[str] = field(default_factory=list[str])
    takeovers: list[float] = field(default_factory=list[float])
    gaps: list[float] = field(default_factory=list[float])
    returns: list[float] = field(default_factory=list[float])
    """When Redis came back, in monotonic seconds."""
    recoveries: list[float] = field(default_factory=list[float])

    def fill(self) -> None:
        """Ask until enough are in flight; a refusal (503, or nobody there) is counted and tried again later."""
        while len(self.flights) < self.size:
            try:
                self.flights.append(self._ask())
            except (httpx.HTTPError, AssertionError, KeyError):
                self.refused += 1
                return
        self.is_full_once = True

    def _ask(self) -> TrackedGeneration:
        self.asked += 1
        losses = self.losses
        client = Client(self.rng.choice(self.rig.urls))
        client.http.timeout = httpx.Timeout(10)
        count = self.rng.randint(5, 120)
        text = "".join(f"{self.asked % 1000:03d}.{number:04d} " for number in range(count))
        script: dict[str, object] = {"text": text, "tokens": count, "rate": self.rng.choice((10, 20, 40))}
        fault = self.rng.choice(FAULTS) if self.rng.random() < 0.1 else None
        if fault:
            script |= {"fault": fault, "at": self.rng.choice((0, count // 2)), "times": 1}
        if self.rng.random() < 0.1:
            script["first_delay"] = round(self.rng.uniform(0.1, 2), 1)
        answer = client.post({"message": emulate(**script)})
        if answer.status_code != 202:
            raise KeyError(answer.status_code)
        generation = answer.json()["id"]
        urls = [*self.rig.urls]
        self.rng.shuffle(urls)
        follower = Follower(urls, client.http.cookies, generation, text)
        return TrackedGeneration(client, generation, text, time.monotonic(), follower, fault=fault, losses=losses)

    def reap(self) -> None:
        """Judge every generation that ended, and those that should have."""
        for flight in list(self.flights):
            late = time.monotonic() - flight.asked_at > END_SECONDS or flight.silence > STUCK_SECONDS
            vanished = flight.losses < self.losses and flight.follower.refusals[-3:] == [404] * 3
            if flight.follower.is_done or late or vanished:
                self.flights.remove(flight)
                flight.follower.stop()
                self._judge(flight, vanished=vanished)
                flight.client.http.close()

    def _judge(self, flight: TrackedGeneration, *, vanished: bool) -> None:
        self.checked += 1
        received = flight.follower.received
        name = f"{flight.generation} ({[(each.cursor, each.event['type']) for each in received[-6:]]})"
        self.violations += [f"{name}: {each}" for each in flight.follower.violations]
        self._measure(flight)
        if vanished and not flight.follower.is_done:
            self.gone += 1
            return
        if not flight.follower.is_done:
            age = time.monotonic() - flight.asked_at
            self.violations.append(
                f"{name}: no done after {age:.0f} s, nothing for {flight.silence:.0f} s; "
                f"refusals {flight.follower.refusals[-5:]}"
            )
            return
        # An outcome that Redis lost after a reader had it is published again, after a snapshot: by its writer the same
        # one; by the next attempt, where the writer was stopped for too long, perhaps another one.
        kinds = sorted({str(each) for each in outcomes_of(received)})
        most = 2 if flight.losses < self.losses else 1
        if not 1 <= len(kinds) <= most or len(outcomes_of(_since_snapshot(received))) != 1:
            self.violations.append(f"{name}: outcomes {kinds}")
            return
        self.otherwise += len(kinds) == 2
        outcome = outcomes_of(received)[-1]
        label = outcome["type"] + (f" {outcome['code']}" if "code" in outcome else "")
        self.outcomes[label] = self.outcomes.get(label, 0) + 1
        if outcome["type"] == "complete" and flight.follower.text != flight.text:
            self.violations.append(
                f"{name}: complete with {len(flight.follower.text)} of {len(flight.text)} characters"
            )
        if not self._is_lawful(flight, outcome):
            self.violations.append(f"{name}: ended with {outcome}, for which there was no cause")

    def _is_lawful(self, flight: TrackedGeneration, outcome: Json) -> bool:
        if outcome["type"] == "cancelled":
            return flight.cancelled
        if outcome["type"] == "error":
            return (
                flight.losses < self.losses
                if outcome["code"] == "stream_lost"
                else flight.fault is not None and outcome["code"] in PROVIDERS_OWN
            )
        return True

    def _measure(self, flight: TrackedGeneration) -> None:
        received = flight.follower.received
        for before, after in pairwise(received):
            if after.event["type"] == "snapshot" and after.event["reason"] == "takeover":
                self.takeovers.append(after.at - before.at)
            place = bisect(self.returns, after.at)
            if place and self.returns[place - 1] > before.at:
                self.recoveries.append(after.at - self.returns[place - 1])
        self.gaps.append(max((b.at - a.at for a, b in pairwise(received)), default=0.0))

    def any_one(self, rng: random.Random) -> TrackedGeneration | None:
        """Return one that is in flight; None where none is."""
        flights = [*self.flights]  # the other thread adds and takes
        return rng.choice(flights) if flights else None

    def cancel_one(self, rng: random.Random) -> bool:
        """Cancel one that is in flight; False where nobody could be asked."""
        flight = self.any_one(rng)
        if flight is None:
            return False
        flight.cancelled = True
        try:
            return flight.client.cancel(flight.generation).status_code in (200, 202, 404)
        except httpx.HTTPError:
            return False

    def note_return(self) -> None:
        """Redis serves again."""
        self.returns.append(time.monotonic())

    def note_loss(self) -> None:
        """Redis is about to forget writes: those asked before its return may be gone."""
        self.losses += 1


def _since_snapshot(received: list[Received]) -> list[Received]:
    """Return the events from the last snapshot on, or all."""
    starts = [place for place, each in enumerate(received) if each.event["type"] == "snapshot"]
    return received[starts[-1] if starts else 0 :]
