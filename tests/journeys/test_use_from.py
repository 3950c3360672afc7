"""The programs of the `use-from` pages, as printed, with unmodified packages: the text is exact whatever happens."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.client import emulate, wait_for
from tests.docs.programs import programs, with_constants
from tests.journeys.client_package import add_client
from tests.journeys.cutting_proxy import CuttingProxy, Weather
from tests.journeys.npm_packages import NODE, NpmPackages
from tests.system import System

PAGES = ("webapp/docs/use-from-python.md", "webapp/docs/use-from-node.md", "webapp/docs/use-from-curl.md")
PROGRAMS = {name: code for page in PAGES for name, code in programs(page).items()}
LIBRARIES = {"ask.mjs"}
OTHERS = {"with_stop.py"}
FOLLOWERS = sorted({*PROGRAMS} - LIBRARIES - OTHERS)
NO_REQUEST_AFTER = 120
SECONDS = 120
TEXT = "".join(f"{number} caf\u00e9 \U0001f600 \u2028data: x\n\nid: 9-9\r\n" for number in range(12))
WEATHER = Weather(only_streams=True, is_half_plain=True, has_short_retry=True)
# Version 2 of `eventsource` takes an id before its frame is whole, and keeps the frame's data for the next frame.
WEATHERS = {"with_eventsource2.mjs": replace(WEATHER, spares_blank_lines=True)}


@pytest.fixture
def system(free_system: System) -> System:
    """A system in which a reader may reconnect as often as it likes."""
    return free_system


def start(name: str, url: str, message: str, packages: NpmPackages) -> subprocess.Popen[bytes]:
    """Start a program of the documentation against a server."""
    directory = packages.directory / f"{name}-{len(list(packages.directory.iterdir()))}"
    directory.mkdir()
    for each in LIBRARIES | {name}:
        code = with_constants(PROGRAMS[each], SERVER=f'"{url}"', PAUSE="0.01", pause="0.01")
        code = with_constants(code, server=f'"{url}"')
        (directory / each).write_text(code, "utf-8")
    add_client(directory)
    command = {".py": sys.executable, ".mjs": str(NODE), ".sh": "bash"}[Path(name).suffix]
    return subprocess.Popen([command, name, message], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def output_of(process: subprocess.Popen[bytes]) -> str:
    """Return the text that a program prints, without the line's end."""
    try:
        output, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors.decode()
    return output.decode().removesuffix("\n")


@pytest.mark.parametrize("name", FOLLOWERS)
def test_text_is_exact_although_each_connection_is_cut_after_an_event_or_two(
    system: System, name: str, npm_packages: NpmPackages
) -> None:
    """The cuts fall on every part of a frame."""
    message = emulate(text=TEXT, chars=6, rate=30)
    weather = WEATHERS.get(name, WEATHER)
    with CuttingProxy(system.url, lambda n: 300 + 13 * n % 97 if n < 30 else None, weather) as proxy:
        assert output_of(start(name, proxy.url, message, npm_packages)) == TEXT
        assert proxy.cut >= 20


def test_one_event_of_three_hundred_kilobytes_arrives_whole(system: System, npm_packages: NpmPackages) -> None:
    message = emulate(tokens=1, chars=300_000)
    running = [start(name, system.url, message, npm_packages) for name in FOLLOWERS]
    try:
        texts = {output_of(each) for each in running}
    finally:
        for each in running:
            each.kill()
    assert [len(text) for text in texts] == [300_000]


def test_text_is_exact_although_every_web_and_worker_process_is_replaced(
    system: System, npm_packages: NpmPackages
) -> None:
    """The server ends the streams early as it stops, and a killed worker's answer begins again with a snapshot."""
    # The first call of each stalls, so that none has ended when the last of the programs has read its first words.
    stall = {"fault": "stall", "at": 12, "times": 1}
    messages = {name: emulate(text=f"{name} {TEXT}", chars=6, rate=8, **stall) for name in FOLLOWERS}
    running = {name: start(name, system.url, message, npm_packages) for name, message in messages.items()}
    try:
        wait_for(lambda: started(system) >= {*messages.values()}, 90, "every answer's first words")
        for pid in system.pids()["worker"]:
            os.kill(pid, signal.SIGKILL)
        for pid in system.pids()["web"]:
            os.kill(pid, signal.SIGTERM)
        assert {name: output_of(each) for name, each in running.items()} == {
            name: f"{name} {TEXT}" for name in FOLLOWERS
        }
    finally:
        for each in running.values():
            each.kill()
    assert len([message for message, _ in asked(system) if message in messages.values()]) >= 2 * len(FOLLOWERS)


def started(system: System) -> set[str]:
    """Return the messages whose answers have begun."""
    return {message for message, sent in asked(system) if sent > 5}


def asked(system: System) -> list[tuple[str, int]]:
    """Return the last message of each model call, and how many deltas were sent."""
    listed = httpx.get(f"{system.emulator_url}/_calls", timeout=30, trust_env=False, verify=False).json()
    return [(call["messages"][-1]["content"][-1].get("text"), call["deltas_sent"]) for call in listed]
