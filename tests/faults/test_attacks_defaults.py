"""Attacks from one address on a system with its default limits: a user at another address is served all the same.

The delays that the user notices are printed (`-s`), not asserted: the attacker takes processor time from the servers.
"""

import json
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

RATE = 40


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


def honest_delays(url: str) -> str:
    """Ask and follow as a user does, and check the answer; return the time to its first text, and its longest gap."""
    text = "".join(f"word {each:03d} " for each in range(RATE))
    with Client(url) as client:
        asked = time.monotonic()
        received = client.whole(client.ask(emulate(text=text, tokens=RATE, rate=RATE)))
    assert_complete(received)
    assert text_of(received) == text
    times = [each.at for each in received if each.event["type"] == "chunk"]
    gap = max(after - before for before, after in pairwise(times))
    return f"first text {times[0] - asked:.3f} s, longest gap {gap:.3f} s"


def test_user_at_another_address_is_served_during_each_attack(system: System) -> None:
    honest_delays(system.url)
    print("quiet:", honest_delays(system.url))
    for number, attack in enumerate(ATTACKS, 2):
        with under(attack, system.url, f"127.0.0.{number}") as statuses:
            delays = honest_delays(system.url)
        print(f"{attack}: {delays}; statuses {statuses}")
