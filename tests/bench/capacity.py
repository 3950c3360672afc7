"""The capacity of each tier: the load grows until its delay passes a limit, and each unit of work has its cost.

Answers grow with a reader each, as in chats, on the whole system; readers grow on ten streams, as for an audience, at
the web alone. The costs are what `deploy/capacity.py` calculates with.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import redis

from tests.bench.flush import delays_of, reader_request
from tests.bench.processes import Cost, cost
from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.start import asker_for
from tests.bench.streaming import ControlledProcess, Load, stream
from tests.bench.systems import MeasuredSystem, millrace
from tests.bench.wire import quantile
from tests.client import emulate
from tests.faults.rig import Rig
from tests.valkey import ValkeyProcess
from tests.worker.migrated_database import new_database

_EDGE = 0.15  # of an answer's time, at its beginning and its end
_LIMIT_MS = 100.0  # the p99 of an event's delay, from the model's socket to the reader's
_RATE = 40  # deltas a second of one answer
_ASKING = 0.04  # seconds for each question; the first delay of all answers lies behind the last of them
_ANSWERS = (50, 100, 150, 200, 250, 300, 350, 400)
_READERS = (1000, 2000, 4000, 8000, 12_000, 16_000)
_STREAMS, _STREAM_RATE = 10, 10
_IDLE_SECONDS = 4.0
_STARTS, _STARTS_RATE, _WARM = 480, 80, 20
_SUBSCRIBERS = 10
_TOGETHER = 5  # events that Redis takes in one turn of its loop


@scenario(
    "capacity", "the load that the system carries, and the cost of each unit of work", compared="p99 ms", rounds=1
)
def capacity(ground: ScenarioContext) -> Iterator[Row]:
    """Grow the answers, then the readers, and measure starts and subscribers by themselves."""
    with Rig(ground.directory, database_url=new_database()) as rig:
        count, rate, idle = (10, 20, 1.0) if ground.is_quick else (_STARTS, _STARTS_RATE, _IDLE_SECONDS)
        yield Row(OURS, _starts(rig, count, rate, idle, ground.directory / "starts"), f"a start, at {rate} a second")
        knee = yield from _grow_answers(rig, ground)
    ground.notes["knee of the whole system"] = knee
    knee = yield from _grow_readers(ground)
    ground.notes["knee of one web process"] = knee
    events = 500 if ground.is_quick else 20_000
    yield Row(OURS, {"Redis µs/subscriber": _subscriber(ground.directory, events)}, "a further subscriber")


def _grow_answers(rig: Rig, ground: ScenarioContext) -> Iterator[Row]:
    """Yield a row for each number of answers, up to the first that is too slow; return the last that was not."""
    knee = "below the least load"
    for answers in (2,) if ground.is_quick else _ANSWERS:
        place = ground.directory / str(answers)
        place.mkdir()
        figures = _answered(rig, answers, 1.0 if ground.is_quick else 6.0, place)
        yield Row(OURS, figures, f"{answers} answers")
        if figures["p99 ms"] > _LIMIT_MS or figures["undelivered"]:
            break
        knee = f"{answers} answers at {_RATE} deltas/s, p99 {figures['p99 ms']:.0f} ms"
    return knee


def _grow_readers(ground: ScenarioContext) -> Iterator[Row]:
    knee = "below the least load"
    for readers in (10,) if ground.is_quick else _READERS:
        place = ground.directory / f"{readers} readers"
        place.mkdir()
        load = Load(_STREAMS, readers, _STREAM_RATE, 0.5 if ground.is_quick else 3.0)
        figures = stream(MeasuredSystem(OURS, millrace), load, place)
        yield Row(OURS, {name: figures[name] for name in _OF_READERS}, f"{readers:,} readers")
        if figures["p99 ms"] > _LIMIT_MS or figures["undelivered"]:
            break
        each = figures["CPU µs/event"]
        knee = f"{readers:,} readers × {_STREAM_RATE} events/s, p99 {figures['p99 ms']:.0f} ms, {each:.1f} µs each"
    return knee


_OF_READERS = ("p50 ms", "p99 ms", "undelivered", "CPU µs/event", "core %", "KB/reader", "bytes/event")


@dataclass(frozen=True)
class _Tiers:
    """The cost of the three tiers so far."""

    web: Cost
    worker: Cost
    redis: Cost
    redis_bytes: int  # of data
    redis_traffic: int


def _tiers(rig: Rig) -> _Tiers:
    with redis.Redis(port=rig.valkey.port) as client:
        info = client.info()
    traffic = info["total_net_input_bytes"] + info["total_net_output_bytes"]
    web, worker = cost(rig.webs[0].process.pid), cost(rig.workers[0].process.pid)
    return _Tiers(web, worker, cost(rig.valkey.pid), info["used_memory_dataset"], traffic)


def _answered(rig: Rig, answers: int, seconds: float, place: Path) -> dict[str, float]:
    """Return the delay and the cost of so many answers at once, each with a reader."""
    deltas = round(_RATE * seconds)
    begin = 1.0 + answers * _ASKING
    before = _tiers(rig)
    asked_at = time.monotonic()
    messages, requests = list[str](), list[str]()
    for number in range(answers):
        # All begin at the same time, spread over the pause between two deltas.
        delay = max(0.0, asked_at + begin - time.monotonic()) + number / answers / _RATE
        messages.append(emulate(text="^ab " * deltas, chars=4, rate=_RATE, first_delay=delay))
        requests.append(reader_request(rig.client(), messages[-1]))
    plan = {"port": int(rig.urls[0].rpartition(":")[2]), "requests": requests, "is_mute": False, "is_stamped": False}
    with ControlledProcess("readers", plan | {"count": answers}, place) as readers:
        readers.ask(do="open")
        wait = asked_at + begin + _EDGE * seconds - time.monotonic()
        first, running, begun = readers.ask(do="pass", seconds=max(0.0, wait)), _tiers(rig), time.monotonic()
        last, after = readers.ask(do="pass", seconds=(1 - 2 * _EDGE) * seconds), _tiers(rig)
        spent = time.monotonic() - begun
        heard = readers.ask(do="await", events=answers * deltas)
        arrivals = readers.ask(do="arrivals")["arrivals"]
    by_text = {call["messages"][-1]["content"][-1].get("text"): call for call in rig.emulator.calls()}
    waits = sorted(chain.from_iterable(map(delays_of, arrivals, [by_text[message] for message in messages])))
    # Costs are those of the time in which all answers ran, without their beginnings and ends.
    total = max(1, last["events"] - first["events"])
    return {
        "p50 ms": quantile(waits, 0.5),
        "p99 ms": quantile(waits, 0.99),
        "undelivered": answers * deltas - heard["events"],
        "web µs/delta": 1e6 * (after.web.cpu - running.web.cpu) / total,
        "worker µs/delta": 1e6 * (after.worker.cpu - running.worker.cpu) / total,
        "Redis µs/append": 1e6 * (after.redis.cpu - running.redis.cpu) / total,
        "worker core %": 100 * (after.worker.cpu - running.worker.cpu) / spent,
        "worker KB/answer": (running.worker.resident_kb - before.worker.resident_kb) / answers,
        "web KB/answer": (running.web.resident_kb - before.web.resident_kb) / answers,
        "Redis bytes/answer": (_tiers(rig).redis_bytes - before.redis_bytes) / answers,
        "Redis traffic bytes/append": (after.redis_traffic - running.redis_traffic) / total,
        "bytes/event": (last["bytes"] - first["bytes"]) / total,
    }


def _starts(rig: Rig, count: int, rate: int, idle_seconds: float, place: Path) -> dict[str, float]:
    """Return the cost of an answer of six deltas in each tier: creation, claim, model call, storage, end."""
    place.mkdir()
    with asker_for(rig, place) as asker:
        asker.ask(do="post", count=_WARM, rate=_WARM)
        time.sleep(idle_seconds / 2)  # until these answers have ended
        idle = _tiers(rig)
        time.sleep(idle_seconds)
        begun, before = time.monotonic(), _tiers(rig)
        asker.ask(do="post", count=count, rate=rate)
        time.sleep(idle_seconds / 4)
        share, after = (time.monotonic() - begun) / idle_seconds, _tiers(rig)

    def spent(tier: str) -> float:
        """Return the milliseconds for each answer, without those that the tier needs when nothing is asked."""
        first, second, third = (getattr(each, tier).cpu for each in (idle, before, after))
        return 1000 * (third - second - share * (second - first)) / count

    return {
        "web ms/start": spent("web"),
        "worker ms/start": spent("worker"),
        "Redis ms/start": spent("redis"),
        "Redis bytes/start": (after.redis_bytes - before.redis_bytes) / count,
    }


def _subscriber(directory: Path, events: int) -> float:
    """Return the CPU that each further process costs Redis which follows a log, per event."""
    place = directory / "subscribers"
    place.mkdir()
    message = b"x" * 90
    with ValkeyProcess(place) as valkey, redis.Redis(port=valkey.port) as client:
        spent: list[float] = []
        for count in (1, 1 + _SUBSCRIBERS):
            listening = [client.pubsub() for _ in range(count)]
            for each in listening:
                each.subscribe("followed")
                each.get_message(timeout=5)
            before = cost(valkey.pid).cpu
            for _ in range(events // _TOGETHER):
                with client.pipeline(transaction=False) as pipeline:
                    for _ in range(_TOGETHER):
                        pipeline.publish("followed", message)
                    pipeline.execute()
                for each in listening:
                    while each.get_message() is not None:
                        pass
            spent.append(cost(valkey.pid).cpu - before)
            for each in listening:
                each.close()
    return 1e6 * (spent[1] - spent[0]) / events / _SUBSCRIBERS
