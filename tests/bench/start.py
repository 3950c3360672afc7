"""How soon an answer starts: the POST's receipt, and the first text beside a direct call of the model."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.milestones import DIRECTORY, durations, have_passed
from tests.bench.processes import cost, pin, tree
from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.bench.wire import quantile
from tests.client import emulate, wait_for
from tests.faults.rig import Rig
from tests.worker.migrated_database import new_database

_DIRECT = "direct call"
_MESSAGE = emulate(text="^" + "abcd " * 5, tokens=6, rate=50)
_ON_POST, _FOLLOWED = "on the POST", "202, then followed"
_WARM = 20  # of each kind, before anything is measured
_RATE = 10
_SHARES = {"p50": 0.5, "p99": 0.99}
# As by default, but without a 429.
_COUNTED: dict[str, Any] = {"rate_limit": "1000000/minute", "address_rate_limit": "1000000/minute"}
_POST = (
    "POST /api/generations HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n{body}"
)
_FOLLOW = "GET PATH HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\nAccept: text/event-stream\r\n\r\n"


@scenario("post", "POST → 202, at 100 a second", compared="p99 ms")
def post(ground: ScenarioContext) -> Iterator[Row]:
    """Ask at an even pace; every question is answered, and nobody reads."""
    count, rate = (20, 20) if ground.is_quick else (1500, 100)
    with Rig(ground.directory, database_url=new_database()) as rig:
        pids = {"web": rig.webs[0].process.pid, "worker": rig.workers[0].process.pid}
        for pid in tree(pids["web"]):
            pin(pid, is_server=True)
        for pid in (pids["worker"], rig.valkey.pid, rig.emulator.process.pid):
            pin(pid)
        with asker_for(rig, ground.directory) as asker:
            asker.ask(do="post", count=_WARM, rate=_RATE)
            before = {name: cost(pid).cpu for name, pid in pids.items()}
            told = asker.ask(do="post", count=count, rate=rate)
            spent = {f"{name} CPU ms": 1000 * (cost(pid).cpu - before[name]) / count for name, pid in pids.items()}
    yield Row(
        OURS,
        {
            "p50 ms": told["p50_ms"],
            "p99 ms": told["p99_ms"],
            "most ms": told["most_ms"],
            "refused": told["refused"],
            **spent,
            "load's core %": 100 * told["cpu_share"],
        },
    )


@scenario("start", "first text, at 10 starts a second", compared="first p50 ms", against=_DIRECT)
def start(ground: ScenarioContext) -> Iterator[Row]:
    """Ask the model directly, then by Millrace: the answer on the POST itself, and followed once it is named.

    The ways take turns, because the machine is not the same for long.
    """
    turns, count = (1, 5) if ground.is_quick else (6, 50)
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        rig = stack.enter_context(Rig(ground.directory, database_url=new_database(), **_COUNTED))
        plan = {"bedrock": rig.emulator.url, "message": _MESSAGE}
        caller = stack.enter_context(ControlledProcess("peers.direct_call", plan, ground.directory))
        ways: dict[str, Callable[[int], dict[str, Any]]] = {_DIRECT: lambda count: caller.ask(count=count, rate=_RATE)}
        for way, does, fields in ((_ON_POST, "stream", {"stream": True}), (_FOLLOWED, "follow", {})):
            place = ground.directory / does
            place.mkdir()
            asker = stack.enter_context(asker_for(rig, place, **fields))
            ways[way] = lambda count, asker=asker, does=does: asker.ask(do=does, count=count, rate=_RATE)
        for ask in ways.values():
            ask(_WARM)
        for turn in range(turns):
            for way in sorted(ways, reverse=bool(turn % 2)):
                times.setdefault(way, []).extend(ways[way](count)["times_ms"])
    direct = sorted(times[_DIRECT])
    for way in ways:
        own = sorted(times[way])
        figures = {f"first {name} ms": quantile(own, share) for name, share in _SHARES.items()}
        if way != _DIRECT:
            later = {
                f"later {name} ms": quantile(own, share) - quantile(direct, share) for name, share in _SHARES.items()
            }
            figures |= {**later, "refused": turns * count - len(own)}
        yield Row(way if way == _DIRECT else f"{OURS}, {way}", figures)


@scenario("steps", "where the time to the first text on the POST goes, at 10 starts a second", compared="p50 ms")
def steps(ground: ScenarioContext) -> Iterator[Row]:
    """Ask for streams on the POST, and note the moments that each question passes."""
    count = 10 if ground.is_quick else 300
    notes = ground.directory / "milestones"
    notes.mkdir()
    rig = Rig(
        ground.directory,
        database_url=new_database(),
        web_application="tests.bench.peers.milestones_web:application",
        worker_modules=("tests.bench.peers.milestones_worker",),
        variables={DIRECTORY: str(notes)},
        **_COUNTED,
    )
    with rig, asker_for(rig, ground.directory, stream=True) as asker:
        asker.ask(do="stream", count=_WARM, rate=_RATE)
        told = asker.ask(do="stream", count=count, rate=_RATE)
        asked = [(generation, due, due + seconds) for generation, due, seconds in told["exchanges"]]
        generations = [generation for generation, *_ in asked]
        wait_for(lambda: have_passed(notes, generations), 30, "all milestones to be written")
    for step, (p50, p99) in durations(notes, asked).items():
        yield Row(OURS, {"p50 ms": p50, "p99 ms": p99}, step)
    yield Row(OURS, {"p50 ms": told["p50_ms"], "p99 ms": told["p99_ms"]}, "all")


def asker_for(rig: Rig, place: Path, **fields: bool) -> ControlledProcess:
    client = rig.client()
    client.ask(_MESSAGE)  # who asks is known from then on
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    body = json.dumps({"message": _MESSAGE} | fields)
    plan = {
        "port": int(rig.urls[0].rpartition(":")[2]),
        "request": _POST.format(cookie=cookie, length=len(body), body=body),
        "follow": _FOLLOW.format(cookie=cookie),
    }
    return ControlledProcess("asker", plan, place)
