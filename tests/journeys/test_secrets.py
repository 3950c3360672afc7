"""A running system keeps its secrets: other users of the machine read nothing, and each process knows only its own."""

import stat
from pathlib import Path

import pytest
import redis

from tests.client import Client
from tests.system import System


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")


def test_own_valkey_answers_only_with_the_password_of_the_state_directory(system: System, client: Client) -> None:
    secret = system.state / "redis_password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(system.state.stat().st_mode) == 0o700
    password = secret.read_text()
    assert password in system.redis_url
    without = system.redis_url.replace(f":{password}@", "")
    with redis.Redis.from_url(without) as intruder, pytest.raises(redis.AuthenticationError):
        intruder.keys()
    for role in ("redis", "web", "worker", "emulator"):
        for pid in system.pids()[role]:
            assert password not in Path(f"/proc/{pid}/cmdline").read_text(), "every user can read a command line"
    assert all(password not in log for log in system.logs().values())
    client.whole(client.ask("is it still answered?"))


def test_processes_have_no_secret_that_they_do_not_need(system: System) -> None:
    key = (system.state / "secret_key").read_text()
    pids = system.pids()
    assert all(key in environment_of(pid) for pid in pids["web"])
    for role in ("worker", "redis", "emulator"):
        assert all(key not in environment_of(pid) for pid in pids[role])
    for role in ("redis", "emulator"):
        assert all("MILLRACE_" not in environment_of(pid) for pid in pids[role])
