"""A user whose data is deleted while an answer runs, beside another who notices nothing."""

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.client import Client, emulate, text_of, wait_for
from tests.docs.pages import ROOT
from tests.system import System


def data(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "data.py"), *arguments, "--state", str(system.state)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def with_new_key(system: System, owner: str) -> Client:
    command = [sys.executable, str(ROOT / "deploy" / "keys.py"), "add", owner, "--state", str(system.state)]
    client = Client(system.url)
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    client.http.headers["Authorization"] = f"Bearer {key}"
    wait_for(lambda: client.http.get("/api/conversations").status_code == 200, 30, "the key to be known")
    return client


def test_deleted_user_is_gone_with_the_answer_that_runs_and_no_one_else_is(system: System, tmp_path: Path) -> None:
    secret = f"A secret {time.monotonic_ns()}. "
    with with_new_key(system, "leaver") as leaver, with_new_key(system, "stayer") as stayer:
        leaver.whole(leaver.ask(emulate(text=secret, chars=4)))
        stayer.whole(stayer.ask(emulate(text=secret, chars=4)))
        generation = leaver.ask(emulate(text=secret * 200, chars=5, rate=20))
        following = leaver.follow(generation)
        received = [next(following)]
        done = data(system, "delete", "--yes", "leaver")
        assert done.returncode == 0, done.stderr
        # The text of the answer that runs may have been stored before its conversation was deleted, and goes with it.
        assert re.match(r"Deleted: 2 conversations, [34] messages, ", done.stdout), done.stdout
        assert "2 generations in Redis, 1 of them cancelled" in done.stdout
        assert done.stdout.endswith(" 1 API keys.\n")
        received += following
        assert received[-2].event["type"] == "cancelled"
        assert len(text_of(received)) < len(secret) * 200
        wait_for(lambda: leaver.http.get("/api/conversations").status_code == 401, 30, "the key to be revoked")
        assert len(stayer.http.get("/api/conversations").json()["conversations"]) == 1
    assert data(system, "delete", "--yes", "leaver").stdout == "Nothing is stored of an owner 'leaver'.\n"
    assert data(system, "export", "leaver").returncode == 1
    assert data(system, "export", "-o", str(tmp_path / "stayer.json"), "stayer").returncode == 0
