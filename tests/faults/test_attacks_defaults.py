"""Attacks from one address on a system with its default limits: a user at another address is served all the same.

The delays that the user notices are printed (`-s`), not asserted: the attacker takes processor time from the servers.
"""

import json
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from signal import SIGUSR1
from subprocess import PIPE, Popen

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
def attacker(url: str) -> Generator[Popen[str]]:
    """Start the process that attacks."""
    command = [sys.executable, "-m", "tests.faults.attacker", url]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def under(process: Popen[str], attack: str, address: str) -> Generator[dict[str, int]]:
    """Attack from the address meanwhile; how often each status was the response is in the dictionary at the end."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{attack} {address}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "attacking\n"
    statuses: dict[str, int] = {}
    try:
        yield statuses
    finally:
        process.send_signal(SIGUSR1)
        statuses.update(json.loads(process.stdout.readline()))


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
    print("quiet:", honest_delays(system.url))
    with attacker(system.url) as process:
        for number, attack in enumerate(ATTACKS, 2):
            with under(process, attack, f"127.0.0.{number}") as statuses:
                delays = honest_delays(system.url)
            print(f"{attack}: {delays}; statuses {statuses}")
