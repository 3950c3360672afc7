"""A tier's database under load, from within: `python -m tests.bench.peers.store_load PLAN`.

The plan is a JSON file: `database_url`, `memories`, `searches`, `writes_a_second`. A line `{"seconds": s}` has answers
written for so long and memories searched after it; a line of figures in milliseconds comes back.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from millrace.worker.settings.schema import Settings  # noqa: E402
from millrace.worker.store import answers, memories  # noqa: E402
from millrace.worker.store.database import Database  # noqa: E402
from millrace.worker.store.migration import migrate  # noqa: E402
from tests.bench.wire import quantile  # noqa: E402
from tests.worker.store.samples import answer, question  # noqa: E402

_LOOK_SECONDS = 0.001
_FILL_SECONDS = 300.0
_WORDS = [f"w{number}" for number in range(3000)]


def main() -> None:
    """Do what each line says."""
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    settings = Settings.of(database_url=plan["database_url"])
    migrate(settings)
    database = Database(settings)
    for line in sys.stdin:
        said = json.loads(line)
        figures = _written(database, plan["writes_a_second"], said["seconds"]) | _searched(database, plan)
        print(json.dumps(figures), flush=True)


def _written(database: Database, rate: float, seconds: float) -> dict[str, float]:
    """Write whole turns at an even pace, and see for how long nothing else runs meanwhile."""
    write = _timed(lambda: database.run(lambda session: answers.save_answer(session, question(), answer("so " * 1500))))
    write()  # the first one connects
    blocks: list[float] = []
    watch = gevent.spawn(_watch, blocks)
    begun = time.monotonic()
    writing = []
    while time.monotonic() - begun < seconds:
        writing.append(gevent.spawn(write))
        gevent.sleep(1 / rate)
    took = [each.get() for each in writing]
    watch.kill()
    return {
        "write p50 ms": statistics.median(took),
        "write p99 ms": quantile(sorted(took), 0.99),
        "hub blocked p99 ms": quantile(sorted(blocks), 0.99),
        "most ms": max(blocks),
    }


def _searched(database: Database, plan: dict[str, Any]) -> dict[str, float]:
    """Search one owner's memories for a question's words."""
    chance = random.Random(1)

    def fill(session: Session) -> None:
        for number in range(plan["memories"]):
            memories.add(session, "ada", f"{' '.join(chance.choices(_WORDS, k=8))} fact {number}")

    def search() -> float:
        words = " ".join(chance.choices(_WORDS, k=12))
        return _timed(lambda: database.run(lambda session: memories.search(session, "ada", words, 8)))()

    database.run(fill, _FILL_SECONDS)
    took = [search() for _ in range(plan["searches"])]
    return {"search p50 ms": statistics.median(took), "search p99 ms": quantile(sorted(took), 0.99)}


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        begun = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - begun)

    return timed


def _watch(blocks: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        gevent.sleep(_LOOK_SECONDS)
        blocks.append(1000 * (time.perf_counter() - begun - _LOOK_SECONDS))


if __name__ == "__main__":
    main()
