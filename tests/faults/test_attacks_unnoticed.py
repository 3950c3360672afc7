"""Attacks from one address on a system with its default limits: a user at another address is not delayed."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.client import Client, assert_complete, emulate, text_of
from tests.faults.attacker import ATTACKS
from tests.system import ANY_ADDRESS_VARIABLES, ROOT, System

HONEST_ANSWERS = 2
RATE = 40
NOISE_SECONDS = 0.5  # other tests share the processors


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, **dict.fromkeys(ANY_ADDRESS_VARIABLES, "")) as running:
        yield running


@contextmanager
def under(attack: str, url: str, address: str) -> Generator[dict[str, int]]:
    """Attack from the address meanwhile; how often each status was the response is in the dictionary at the end."""
    statuses: dict[str, int] = {}
    command = [sys.executable, "-m", "tests.faults.attacker", attack, url, address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "attacking\n"
            yield statuses
        finally:
            process.terminate()
            output, _ = process.communicate()
            statuses.update(json.loads(output))


def honest_delays(url: str) -> tuple[float, float]:
    """Ask and follow as a user does; return the seconds to the first text and the longest gap after it, as medians."""
    firsts: list[float] = []
    gaps: list[float] = []
    with Client(url) as client:
        for number in range(HONEST_ANSWERS):
            text = "".join(f"{number} word {each:03d} " for each in range(RATE))
            asked = time.monotonic()
            received = client.whole(client.ask(emulate(text=text, tokens=RATE, rate=RATE)))
            assert_complete(received)
            assert text_of(received) == text
            times = [each.at for each in received if each.event["type"] == "chunk"]
            firsts.append(times[0] - asked)
            gaps.append(max(after - before for before, after in pairwise(times)))
    return statistics.median(firsts), statistics.median(gaps)


def test_user_at_another_address_is_neither_refused_nor_delayed(system: System) -> None:
    honest_delays(system.url)
    quiet_first, quiet_gap = honest_delays(system.url)
    slow: dict[str, str] = {}
    for number, attack in enumerate(ATTACKS, 2):
        with under(attack, system.url, f"127.0.0.{number}") as statuses:
            first, gap = honest_delays(system.url)
        figures = f"first text {first:.3f} s (quiet {quiet_first:.3f}), longest gap {gap:.3f} s ({quiet_gap:.3f})"
        print(attack, figures, statuses)
        if first > 2 * quiet_first + NOISE_SECONDS or gap > 2 * quiet_gap + NOISE_SECONDS:
            slow[attack] = figures
    assert not slow
