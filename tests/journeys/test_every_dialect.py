"""One run, every dialect: a generation that one protocol has begun is followed and cancelled through each other one.

Every test goes through all ordered pairs of protocols at once, on one system, and prints its grid (`-s` shows it).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier
from typing import Any

import pytest

from tests.bare import UNLIMITED
from tests.client import emulate
from tests.docs.pages import ROOT
from tests.journeys.dialects import DIALECTS, DialectClient
from tests.system import System

TEXT = " ".join(f"{number}. Caf\u00e9 \U0001f600 \u2028 \x85 a\r\nb\rc\n\ndata: [DONE]\n\n" for number in range(12))
OTHER = TEXT[:40] + "And then it goes on in other words. " * 12
PIECE = 4  # characters of a delta
SOME, MORE = 60, 200  # characters: of the first reading, and of the second one before the workers are killed
# The model falls silent there in its first call, so that the test has all the time that it needs.
SILENCE: dict[str, Any] = {"fault": "stall", "at": MORE // PIECE + 10, "times": 1, "rate": 200}
SECONDS = 120.0

Pair = tuple[DialectClient, DialectClient]
PAIRS = list(product(DIALECTS, DIALECTS))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    settings = {f"MILLRACE_{name.upper()}": str(value) for name, value in UNLIMITED.items()}
    extra = {"MILLRACE_TITLES": "0", "MILLRACE_SUGGESTIONS": "0", "MILLRACE_LEASE_SECONDS": "3"}
    with System(tmp_path_factory.mktemp("dialects"), "--worker", "2", **settings, **extra) as running:
        yield running


@pytest.fixture(scope="module")
def clients(system: System) -> Iterator[dict[type[DialectClient], DialectClient]]:
    command = [sys.executable, str(ROOT / "deploy" / "keys.py"), "add", "ada", "--state", str(system.state)]
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    made = {each: each(system.url, key) for each in DIALECTS}
    yield made
    for each in made.values():
        each.http.close()


def message(pair: Pair, text: str = TEXT, **script: object) -> str:
    """Return a message that no other pair sends."""
    begun, followed = pair
    return emulate(text=text, chars=PIECE, **{"rate": 40, **script}) + f" {begun.name} then {followed.name}"


def check_grid(
    title: str, clients: Mapping[type[DialectClient], DialectClient], run: Callable[[Pair], str]
) -> dict[str, str]:
    """Run every pair in a thread, print what each returns, and fail with all that have failed."""

    def tried(kinds: tuple[type[DialectClient], type[DialectClient]]) -> tuple[str, BaseException | None]:
        try:
            return run((clients[kinds[0]], clients[kinds[1]])), None
        except BaseException as error:  # noqa: BLE001 - reported with the grid
            return f"{type(error).__name__}", error

    with ThreadPoolExecutor(len(PAIRS)) as pool:
        cells = dict(zip(PAIRS, pool.map(tried, PAIRS), strict=True))
    width = max(len(text) for text in (*(each.name for each in DIALECTS), *(shown for shown, _ in cells.values()))) + 2
    print(f"\n{title}\n{'begun in':12}" + "".join(each.name.ljust(width) for each in DIALECTS))
    for begun in DIALECTS:
        row = (cells[begun, followed][0].ljust(width) for followed in DIALECTS)
        print(f"{begun.name:12}" + "".join(row))
    failures = {f"{a.name} then {b.name}": error for (a, b), (_, error) in cells.items() if error is not None}
    assert not failures, "\n".join(f"{pair}: {error!r:.300}" for pair, error in failures.items())
    assert all(shown for shown, _ in cells.values()), "no cell is empty"
    return {f"{a.name} then {b.name}": shown for (a, b), (shown, _) in cells.items()}


def test_a_dropped_stream_goes_on_in_every_dialect(clients: dict[type[DialectClient], DialectClient]) -> None:
    """In the same dialect it goes on after the last frame, in another one from the beginning."""

    def run(pair: Pair) -> str:
        first, second = pair
        begun = first.begin(message(pair)).read(SOME)
        begun.close()
        assert not begun.ending
        assert TEXT.startswith(begun.text)
        followed = second.follow(begun.generation, begun if first is second else None).read()
        followed.close()
        assert followed.text == TEXT
        assert followed.ending == "complete"
        again = second.follow(begun.generation).read()  # after the end
        again.close()
        assert (again.text, again.ending) == (TEXT, "complete")
        return f"{len(begun.text)} + {len(followed.text)}"

    check_grid("Followed, and once more after the end: characters in each", clients, run)


def test_an_answer_is_cancelled_through_every_dialect(clients: dict[type[DialectClient], DialectClient]) -> None:
    def run(pair: Pair) -> str:
        first, second = pair
        begun = first.begin(message(pair, **SILENCE)).read(SOME)
        second.cancel(begun.generation)
        begun.read()
        begun.close()
        assert begun.ending == "cancelled"
        assert TEXT.startswith(begun.text)
        assert len(begun.text) < len(TEXT)
        followed = second.follow(begun.generation).read()
        followed.close()
        assert (followed.text, followed.ending) == (begun.text, "cancelled")
        return f"after {len(begun.text)}"

    check_grid("Cancelled: characters before", clients, run)


def test_a_takeover_goes_on_where_it_can_and_never_doubles_text(
    system: System, clients: dict[type[DialectClient], DialectClient]
) -> None:
    """All workers are killed while each pair has two answers: one whose text comes again, one whose text changes."""
    ready = Barrier(2 * len(PAIRS) + 1)

    def go_through(pair: Pair, asked: str) -> tuple[str, str, bool]:
        """Return the text and the ending of the reading that lived through it, and whether text was taken back."""
        first, second = pair
        try:
            begun = first.begin(asked).read(SOME)
            begun.close()
            followed = second.follow(begun.generation).read(MORE)
            assert not followed.ending
        except BaseException:
            ready.abort()
            raise
        ready.wait(SECONDS)
        followed.read()
        followed.close()
        return followed.text, followed.ending, followed.replaced

    def same(pair: Pair) -> str:
        text, ending, _ = go_through(pair, message(pair, **SILENCE))
        assert (text, ending) == (TEXT, "complete")
        return "whole"

    def changed(pair: Pair) -> str:
        then = {"text": OTHER, "chars": PIECE, "rate": 200}
        text, ending, replaced = go_through(pair, message(pair, then=then, **SILENCE))
        if pair[1].takes_text_back:
            assert (text, ending, replaced) == (OTHER, "complete", True)
            return "replaced"
        assert ending == "error"
        assert TEXT.startswith(text), "nothing of the new text follows the old one"
        return "error"

    def kill() -> None:
        ready.wait(SECONDS)
        for pid in system.pids()["worker"]:
            os.kill(pid, signal.SIGKILL)

    with ThreadPoolExecutor(3) as pool:
        killing = pool.submit(kill)
        grids = [
            pool.submit(check_grid, "After a takeover with the same text", clients, same),
            pool.submit(check_grid, "After a takeover with another text", clients, changed),
        ]
        for each in (*grids, killing):
            each.result()
