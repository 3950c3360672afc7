"""The README's app, as pasted, served as the README says, beside the worker of a running system."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import assert_complete, emulate, parse_frames, text_of
from tests.docs.pages import ROOT, blocks
from tests.system import System
from tests.valkey import free_port

CONFIGURATION = "python:millrace.webapp.gunicorn_config"
LOGIN = """

@app.get("/login/<user>")
def login(user):
    session["user_id"] = user
    return "welcome"
"""


def python_blocks(page: str) -> list[str]:
    return [each.code for each in blocks("python") if each.page == ROOT / page]


@pytest.fixture
def environment(system: System) -> dict[str, str]:
    """Return the environment of the README, with the addresses of the running system."""
    return {
        **os.environ,
        "MILLRACE_REDIS_URL": system.redis_url,
        "MILLRACE_DATABASE_URL": f"sqlite:///{system.state}/millrace.db",
    }


@pytest.fixture
def app_url(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    (code,) = python_blocks("README.md")
    (tmp_path / "yourapp.py").write_text(code + LOGIN, "utf-8")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "--bind", f"127.0.0.1:{port}", "yourapp:app"]
    log = (tmp_path / "gunicorn.log").open("wb")
    with log, subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as process:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_app_of_the_readme_streams_answers_to_its_own_users(app_url: str) -> None:
    with httpx.Client(base_url=app_url, trust_env=False, verify=False, timeout=30) as user:
        deadline = time.monotonic() + 30
        while True:
            try:
                user.get("/login/u1").raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        answer = user.post("/chat/api/generations", json={"message": emulate(text="Hello.", rate=0)})
        assert answer.status_code == 202
        events = user.get(answer.json()["events_url"]).text
        received = list(parse_frames(iter(events.split("\n"))))
        assert_complete(received)
        assert text_of(received) == "Hello."
        assert user.get("/").status_code == 404  # nothing outside the prefix
    with httpx.Client(base_url=app_url, timeout=30, trust_env=False, verify=False) as stranger:
        assert stranger.get("/chat/api/profile").status_code == 401


def test_python_api_of_the_docs_asks_and_cancels(environment: dict[str, str], tmp_path: Path) -> None:
    app, program = python_blocks("webapp/docs/embedding.md")
    (tmp_path / "yourapp.py").write_text(app, "utf-8")
    (tmp_path / "ask.py").write_text(program + "millrace.stop()\n", "utf-8")
    run = subprocess.run(
        [sys.executable, "ask.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    generation, url = run.stdout.split()
    assert url == f"/chat/api/generations/{generation}/events"
