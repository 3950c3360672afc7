"""Users have the rights that the code needs, and none that nothing needs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import limits
import pytest

from deploy.redis_acl import GRANTS, USES, WHOLE, Rights, line_of, rights_of
from tests.deploy.system.supervised import ROOT
from tests.docs.pages import commands_of, run_by
from tests.valkey import ValkeyProcess

LUA = ROOT / "worker" / "contract" / "lua"
LIMITS = Path(limits.__file__).parent


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as running:
        yield running


def commands_in(folder: Path, pattern: str = "*.lua") -> set[str]:
    sources = "\n".join(path.read_text("ascii") for path in folder.rglob(pattern))
    return {found.lower() for found in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", sources)}


def test_every_command_of_the_scripts_is_granted_to_both_tiers() -> None:
    for role in ("web", "worker"):
        assert commands_in(LUA) <= rights_of(role).commands
    assert commands_in(LIMITS, "*sliding*.lua") <= rights_of("web", ("limits",)).commands


def test_the_server_takes_the_lines_and_allows_no_more(valkey: ValkeyProcess) -> None:
    with valkey.client() as client:
        for role, use in GRANTS:
            words = line_of("someone", rights_of(role, (use,))).split()
            client.execute_command("ACL", "SETUSER", "someone", "reset", *words[2:])
        words = line_of("millrace-worker", rights_of("worker")).split()
        client.execute_command("ACL", "SETUSER", *words[1:])
        for command in (("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("GET", "other"), ("GET", "mr:limits:x")):
            assert b"no permissions" in str(client.execute_command("ACL", "DRYRUN", words[1], *command)).encode()


def test_command_prints_a_line_for_each_user_and_use() -> None:
    def printed(*arguments: str) -> list[str]:
        command = [sys.executable, "deploy/redis_acl.py", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    assert printed() == [line_of(f"millrace-{role}", rights_of(role)) for role in ("web", "worker")]
    assert printed("--use", "limits", "--prefix", "") == [line_of("web", rights_of("web", ("limits",)))]
    assert "mr:{b*" in rights_of("worker", ("control",)).keys, "it holds the generations whose id names no node"
    assert set(WHOLE) == set(USES) - {"cluster"}
    assert Rights(frozenset()) not in GRANTS.values()


def test_commands_about_users_of_redis_run_as_pasted() -> None:
    for block in run_by("test_commands_about_users_of_redis_run_as_pasted"):
        for command in commands_of(block):
            program = [sys.executable, *command.split()[1:]]
            printed = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            assert printed.startswith("user millrace-"), command
