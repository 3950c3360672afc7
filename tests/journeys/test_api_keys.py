"""A program with an API key: it asks, follows and cancels, until its key is revoked."""

import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from tests.client import Client, Received, assert_gapless, emulate, text_of, wait_for
from tests.docs.pages import ROOT
from tests.system import System

CUT_SECONDS = 60


def keys(system: System, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "deploy" / "keys.py"), *arguments, "--state", str(system.state)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def key(system: System) -> str:
    return keys(system, "add", "ada", "--name", "a test")


@pytest.fixture
def ada(system: System, key: str) -> Iterator[Client]:
    with with_key(system, key) as client:
        yield client


def with_key(system: System, key: str) -> Client:
    client = Client(system.url)
    client.http.headers["Authorization"] = f"Bearer {key}"
    wait_for(lambda: client.http.get("/api/conversations").status_code == 200, 30, "the key to be known")
    return client


def test_program_asks_follows_and_cancels_with_its_key(system: System, ada: Client) -> None:
    answered = ada.whole(ada.ask(emulate(text="An answer by key.", chars=4)))
    assert text_of(answered) == "An answer by key."
    generation = ada.ask(emulate(tokens=1000, chars=5, rate=20))
    following = ada.follow(generation)
    received = [next(following)]
    with with_key(system, keys(system, "add", "eve")) as eve:
        assert eve.http.get(f"/api/generations/{generation}").status_code == 404
        assert eve.http.get(f"/api/generations/{generation}/events").status_code == 404
        assert eve.cancel(generation).status_code == 404
    with Client(system.url) as anonymous:
        assert anonymous.cancel(generation).status_code == 404
    assert ada.cancel(generation).status_code == 202
    received += following
    assert_gapless(received)
    assert received[-2].event["type"] == "cancelled"
    assert not ada.http.cookies


def test_revoked_key_cuts_the_open_stream_within_a_minute(system: System, key: str, ada: Client) -> None:
    generation = ada.ask(emulate(tokens=2000, chars=5, rate=10))
    received: list[Received] = []
    ended: list[float] = []

    def follow() -> None:
        received.extend(ada.follow(generation))
        ended.append(time.monotonic())

    with with_key(system, keys(system, "add", "ada")) as other:
        Thread(target=follow, daemon=True).start()
        wait_for(lambda: other.snapshot(generation)["status"] == "running", 30, "the answer to begin")
        keys(system, "revoke", key)
        revoked = time.monotonic()
        wait_for(lambda: ada.post({"message": "a"}).status_code == 401, 30, "the rejection")
        wait_for(lambda: ended, CUT_SECONDS + 60, "the cut")
        assert ended[0] - revoked <= CUT_SECONDS + 20  # the rest is for a busy machine
        assert "done" not in [each.event["type"] for each in received]
        # Cut is not cancelled, and the owner's other key goes on.
        assert other.snapshot(generation)["status"] == "running"
        assert other.cancel(generation).status_code == 202


def test_file_of_keys_and_logs_hold_no_key(system: System, key: str, ada: Client) -> None:
    ada.whole(ada.ask("hello"))
    assert key not in (system.state / "api_keys.json").read_text()
    assert all(key not in log for log in system.logs().values())
