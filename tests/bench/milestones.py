"""The moments that a question passes on its way to the first text, by the clock that all processes of a machine share.

The web and the worker of a run with milestones are started with `peers/milestones_web.py` and `_worker.py`, which put
a note before or after a few calls. A note costs two microseconds; lines are written once the first text is out.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gevent
from gevent.local import local

from tests.bench.wire import quantile

DIRECTORY = "BENCH_MILESTONES"  # the environment's variable that names the directory of the files
_WRITE_SECONDS = 0.05

STEPS = (
    ("request", "connection, and the request's headers"),
    ("checked", "session, limits, body, validation"),
    ("admitted", "slots and conversation, in Redis"),
    ("enqueued", "state, first event, lane and message, in Redis"),
    ("picked up", "message to a worker, by Celery"),
    ("claimed", "turn and claim, in Redis"),
    ("gathered", "context, from the database"),
    ("answered", "model, to its first delta"),
    ("relayed", "append to the log, and its message to the web"),
    ("first text", "socket, to the client"),
)
"""Each milestone, and what lies between the one before it and itself; the first begins when the request was due."""


_current: Any = local()  # `passed`: the milestones of the request or the task that the current greenlet handles
_by_generation: dict[str, dict[str, float]] = {}


def begin(name: str) -> None:
    """Begin a request or a task in this greenlet, with its first milestone."""
    _current.passed = {name: time.monotonic()}


def note(name: str) -> None:
    """Note a milestone of this greenlet's request or task, the first time it passes there."""
    _current.passed.setdefault(name, time.monotonic())


def name_generation(generation: str) -> None:
    """Say which generation this greenlet's request or task is about."""
    _by_generation[generation] = _current.passed


def end(generation: str, name: str) -> None:
    """Note the last milestone of a generation in this process, and write all of them a moment later."""
    passed = _by_generation.pop(generation, None)
    if passed is not None:
        passed[name] = time.monotonic()
        gevent.spawn_later(_WRITE_SECONDS, _write, {"generation": generation, **passed})


def wrap(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None = None) -> None:
    """Call `before` with the arguments of a function before it, and `after` behind it."""
    function = getattr(owner, name)

    def noting(*given: Any, **named: Any) -> Any:
        if before is not None:
            before(*given, **named)
        try:
            return function(*given, **named)
        finally:
            if after is not None:
                after(*given, **named)

    setattr(owner, name, noting)


def have_passed(directory: Path, generations: Sequence[str]) -> bool:
    """Return whether all processes have written their milestones of each generation."""
    passed, names = _read(directory), {name for name, _ in STEPS[:-1]}
    return all(passed.get(generation, {}).keys() >= names for generation in generations)


def durations(directory: Path, asked: Sequence[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    """Return the p50 and p99 of each step in ms, by its description.

    `asked` holds for each request its generation, when it was due, and when its first text had come.
    """
    passed = _read(directory)
    steps: dict[str, list[float]] = {described: [] for _, described in STEPS}
    for generation, due, first in asked:
        moments = passed[generation] | {"first text": first}
        before = due
        for name, described in STEPS:
            steps[described].append(1000 * (moments[name] - before))
            before = moments[name]
    return {step: (quantile(sorted(times), 0.5), quantile(sorted(times), 0.99)) for step, times in steps.items()}


def _read(directory: Path) -> dict[str, dict[str, float]]:
    """Return the milestones of each generation, from the lines of all processes."""
    passed: dict[str, dict[str, float]] = {}
    for file in directory.glob("*.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            found = json.loads(line)
            passed.setdefault(found.pop("generation"), {}).update(found)
    return passed


def _write(line: dict[str, Any]) -> None:
    with (Path(os.environ[DIRECTORY]) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
