"""How soon an answer starts: the POST's receipt, and the first text beside a direct call of the model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.processes import cost, pin, tree
from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.client import emulate
from tests.faults.rig import Rig
from tests.worker.migrated_database import new_database

_DIRECT = "direct call"
_MESSAGE = emulate(text="~" + "abcd " * 5, tokens=6, rate=50)
_WARM = 20  # of each kind, before anything is measured
_WARM_RATE = 10
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
        with _asker(rig, ground.directory) as asker:
            asker.ask(do="post", count=_WARM, rate=_WARM_RATE)
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
    """Ask the model directly, then by Millrace: the answer on the POST itself, and followed once it is named."""
    count, rate = (5, 10) if ground.is_quick else (300, 10)
    with Rig(ground.directory, database_url=new_database()) as rig:
        plan = {"bedrock": rig.emulator.url, "message": _MESSAGE}
        with ControlledProcess("peers.direct_call", plan, ground.directory) as caller:
            direct = _measured(caller.ask, count, rate)
        yield Row(_DIRECT, {"first p50 ms": direct["p50_ms"], "first p99 ms": direct["p99_ms"]})
        for case, way, fields in (("on the POST", "stream", {"stream": True}), ("202, then followed", "follow", {})):
            with _asker(rig, ground.directory, **fields) as asker:
                told = _measured(lambda asker=asker, way=way, **said: asker.ask(do=way, **said), count, rate)
            figures = {
                "first p50 ms": told["p50_ms"],
                "first p99 ms": told["p99_ms"],
                "later p50 ms": told["p50_ms"] - direct["p50_ms"],
                "later p99 ms": told["p99_ms"] - direct["p99_ms"],
                "refused": told["refused"],
            }
            yield Row(f"{OURS}, {case}", figures)


def _measured(ask: Callable[..., dict[str, float]], count: int, rate: float) -> dict[str, float]:
    ask(count=_WARM, rate=_WARM_RATE)
    return ask(count=count, rate=rate)


def _asker(rig: Rig, place: Path, **fields: bool) -> ControlledProcess:
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
