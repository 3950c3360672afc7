"""The setting of API keys: in JSON or in a file, and what is said about one that is wrong."""

import json
from pathlib import Path

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.api_keys import ApiKey, hash_of_key, path_of, read_keys
from millrace.worker.settings.schema import load

HASH = hash_of_key("mr-key")
FULL = {"sha256": HASH, "owner": "ada", "id": "1", "name": "n", "created": "now", "last4": "-key"}


def test_keys_are_read_from_json_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([FULL]))
    given = json.dumps([{"sha256": HASH, "owner": "ada"}])
    assert read_keys(f" {given}\n") == (ApiKey(HASH, "ada"),)
    assert read_keys(str(path)) == (ApiKey(**FULL),)
    assert read_keys("[]") == ()
    assert load({"MILLRACE_API_KEYS": f"{path} "}).auth.api_keys == str(path), "a file is read again by the web tier"
    assert load({"MILLRACE_API_KEYS": given}).auth.api_keys == given


def test_path_begins_with_a_slash_or_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.json").write_text("[]")
    for value in ("./keys.json", f"../{tmp_path.name}/keys.json"):
        assert read_keys(value) == ()
        assert path_of(value) is not None
    assert path_of("[]") is None


WRONG = {
    "a hash in upper case": ([{"sha256": HASH.upper(), "owner": "ada"}], "sha256"),
    "a key itself": ([{"sha256": "mr-key", "owner": "ada"}], "sha256"),
    "no hash": ([{"owner": "ada"}], "sha256"),
    "no owner": ([{"sha256": HASH}], "owner"),
    "an owner with a line break": ([FULL, {**FULL, "owner": "a\n"}], r"\$\[1\]\.owner"),
    "a number as owner": ([{**FULL, "owner": 5}], "owner"),
    "an unknown field": ([{**FULL, "onwer": "ada"}], "onwer"),
    "one key twice": ([FULL, {**FULL, "owner": "eve"}], "same sha256"),
    "an object": ({"sha256": HASH, "owner": "ada"}, "array|takes"),
}


@pytest.mark.parametrize(("keys", "why"), WRONG.values(), ids=WRONG)
def test_wrong_keys_stop_the_start_with_the_variable_and_the_reason(tmp_path: Path, keys: object, why: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(keys))
    for value in (json.dumps(keys), str(path)):
        with pytest.raises(SettingError, match=rf"^MILLRACE_API_KEYS: .*({why})") as raised:
            load({"MILLRACE_API_KEYS": value})
        assert HASH not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"[" * 100_000, b"null"])
def test_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=rf"^MILLRACE_API_KEYS: {path} is not a file of keys: "):
        load({"MILLRACE_API_KEYS": str(path)})
    with pytest.raises(SettingError, match=rf"^MILLRACE_API_KEYS: cannot read {tmp_path}: "):
        load({"MILLRACE_API_KEYS": str(tmp_path)})
