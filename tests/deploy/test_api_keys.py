"""The file of API keys: private, written as a whole, and safe against commands at the same time."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.api_keys import PREFIX, KeyFile
from deploy.errors import StartError
from deploy.system.state_directory import StateDirectory
from millrace.worker.settings import api_keys
from tests.deploy.system.supervised import ROOT

ADD = """
import sys
from pathlib import Path
from deploy.api_keys import KeyFile
from deploy.system.state_directory import StateDirectory
keys = KeyFile(StateDirectory(Path(sys.argv[1])))
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    print(keys.add(sys.argv[2], str(number))[0])
"""


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(StateDirectory(tmp_path / "state"))


def test_the_web_tier_reads_what_is_written_and_finds_no_key_in_it(keys: KeyFile) -> None:
    key, record = keys.add("ada", "l\u00e4ptop")
    assert key.startswith(PREFIX)
    assert PREFIX == api_keys.PREFIX
    assert len(key) == len(PREFIX) + 43, "256 bits"
    (read,) = api_keys.read_keys(str(keys.path))
    assert (read.owner, read.sha256) == ("ada", api_keys.hash_of_key(key))
    assert (read.id, read.name, read.last4) == (record.id, "l\u00e4ptop", key[-4:])
    assert key not in keys.path.read_text()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.path.parent.stat().st_mode) == 0o700


def test_commands_at_the_same_time_lose_no_key(keys: KeyFile) -> None:
    keys.make()
    command = [sys.executable, "-c", ADD, str(keys.path.parent)]
    running = [
        subprocess.Popen([*command, f"owner{each}", "20"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for each in range(4)
    ]
    for process in running:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    printed = [process.communicate()[0].decode().split() for process in running]
    made = {each.sha256 for each in keys.read()}
    assert made == {api_keys.hash_of_key(key) for keys_of_one in printed for key in keys_of_one}
    assert len(made) == 80
    assert len({each.id for each in keys.read()}) == 80


def test_key_is_revoked_by_its_id_and_by_itself(keys: KeyFile) -> None:
    (first, _), (_, second), (_, third) = keys.add("ada", ""), keys.add("ada", ""), keys.add("eve", "")
    assert keys.revoke(first).owner == "ada"
    assert keys.revoke(second.id) == second
    assert keys.read() == [third]
    for unknown in (first, second.id, "mr-", "", third.sha256):
        with pytest.raises(StartError, match="does not hold"):
            keys.revoke(unknown)
    assert keys.read() == [third]


def test_file_is_made_empty_and_never_replaced(keys: KeyFile) -> None:
    keys.make()
    assert api_keys.read_keys(str(keys.path)) == ()
    keys.add("ada", "")
    before = keys.path.read_bytes()
    keys.make()
    assert keys.path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "{}1", '[{"owner": "ada"}]', "[1]"])
def test_damaged_file_is_named_and_left_as_it_is(keys: KeyFile, content: str) -> None:
    keys.make()
    keys.path.write_text(content)
    for change in (keys.make, lambda: keys.add("ada", ""), lambda: keys.revoke("x")):
        with pytest.raises(StartError, match=str(keys.path)):
            change()
    assert keys.path.read_text() == content


def test_link_is_refused(keys: KeyFile, tmp_path: Path) -> None:
    keys.make()
    keys.path.unlink()
    planted = tmp_path / "planted.json"
    planted.write_text(json.dumps([]))
    keys.path.symlink_to(planted)
    with pytest.raises(StartError, match="symbolic link"):
        keys.add("ada", "")


@pytest.mark.parametrize("owner", ["", " ada", "a\nb", "x" * 256, "\udcff"])
def test_owner_that_the_web_tier_rejects_gets_no_key(keys: KeyFile, owner: str) -> None:
    with pytest.raises(StartError, match="an owner has"):
        keys.add(owner, "")
    with pytest.raises(StartError, match="a name has"):
        keys.add("ada", "two\nlines")
