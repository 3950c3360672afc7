"""The command `millrace-data`, over a real Valkey and a database."""

import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.webapp.owner_data.command import main
from millrace.webapp.owner_data.erasure import Erased, Erasure, Found
from millrace.webapp.owner_data.owned_keys import ExportedKey
from tests.webapp.harness import DEAD_PORT, WebHarness
from tests.webapp.stored_turns import begin, turn


class Terminal(io.StringIO):
    """A user who types this line."""

    def isatty(self) -> bool:
        return True


class OneKey:
    """One API key of every owner, until it is revoked."""

    def __init__(self) -> None:
        self.is_valid = True

    def of(self, owner: str) -> list[ExportedKey]:
        return [ExportedKey("0a1b", owner, "2026-01-02T03:04:05Z", "wxyz")] if self.is_valid else []

    def revoke(self, owner: str) -> int:
        self.is_valid = False
        return 1

    def advice(self) -> str:
        return ""


@pytest.fixture
def site(site: WebHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebHarness]:
    """A site whose Redis and database the environment names, with a conversation of its user."""
    settings = site.services.settings
    monkeypatch.setenv("MILLRACE_DATABASE_URL", settings.database.url)
    monkeypatch.setenv("MILLRACE_REDIS_URL", settings.redis.url)
    turn(site, begin(site)["conversation_id"], "a", "b")
    yield site
    logging.disable(logging.NOTSET)


def conversations_of(site: WebHarness) -> int:
    answer = site.user.get("/api/conversations").get_json()
    return len(answer["conversations"])


def test_deletion_asks_for_the_owner_unless_told_otherwise(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, keys = site.owner(), OneKey()
    assert main(["delete", owner], state_keys=keys) == 1
    assert "--yes deletes without asking" in capsys.readouterr().err
    for typed in ("", "yes", owner + "x"):
        monkeypatch.setattr("sys.stdin", Terminal(f"{typed}\n"))
        assert main(["delete", owner], state_keys=keys) == 1
        shown = capsys.readouterr().err
        assert "There are 1 conversations with 3 messages, 0 memories, 0 profiles, 1 generations in Redis" in shown
        assert f"(1 running) and 1 API keys of '{owner}'." in shown
        assert shown.endswith("Nothing was deleted.\n")
    assert conversations_of(site) == 1
    assert keys.is_valid
    monkeypatch.setattr("sys.stdin", Terminal(f"{owner}\n"))
    assert main(["delete", owner], state_keys=keys) == 0
    assert capsys.readouterr().out.startswith(
        "Deleted: 1 conversations, 3 messages, 0 memories, 0 profiles, 1 generations in Redis, 1 of them cancelled, "
    )
    assert not keys.is_valid
    assert conversations_of(site) == 0
    assert main(["delete", "--yes", "nobody"]) == 0
    assert capsys.readouterr().out == "Nothing is stored of an owner 'nobody'.\n"


def test_owner_who_stores_more_meanwhile_is_reported(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    erase, owner = Erasure.erase, site.owner()

    def erase_and_ask(erasure: Erasure) -> tuple[Erased, Found]:
        erased, _ = erase(erasure)
        begin(site)
        return erased, erasure.find()

    monkeypatch.setattr(Erasure, "erase", erase_and_ask)
    assert main(["delete", "--yes", owner], state_keys=OneKey()) == 1
    assert f"'{owner}' has stored more meanwhile." in capsys.readouterr().err


def test_deletion_without_redis_deletes_nothing(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = OneKey()
    monkeypatch.setenv("MILLRACE_REDIS_URL", f"redis://127.0.0.1:{DEAD_PORT}/0")
    assert main(["delete", "--yes", site.owner()], state_keys=keys) == 1
    assert capsys.readouterr().err.startswith("delete: not complete: ")
    assert keys.is_valid
    assert conversations_of(site) == 1


def test_keys_of_the_setting_are_named_because_another_program_manages_them(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_API_KEYS", json.dumps([{"sha256": "0" * 64, "owner": site.owner()}]))
    assert main(["delete", "--yes", site.owner()]) == 1
    assert "1 API keys of" in capsys.readouterr().err
    assert conversations_of(site) == 0
    monkeypatch.setenv("MILLRACE_API_KEYS", json.dumps([{"sha256": "0" * 64, "owner": "bob"}]))
    assert main(["delete", "--yes", site.owner()]) == 0


def test_export_goes_to_standard_output_or_to_a_private_file(
    site: WebHarness, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    owner = site.owner()
    assert main(["export", owner]) == 0
    assert json.loads(capfdbinary.readouterr().out)["owner"] == owner
    assert main(["export", "-o", "ada.json", owner], directory=tmp_path) == 0
    assert json.loads((tmp_path / "ada.json").read_text("utf-8"))["owner"] == owner
    assert stat.S_IMODE((tmp_path / "ada.json").stat().st_mode) == 0o600
    assert main(["export", "-o", "bob.json", "bob"], directory=tmp_path) == 1
    assert capfdbinary.readouterr().err == b"Nothing is stored of an owner 'bob'.\n"
    assert not list(tmp_path.glob("*bob*"))


def test_days_of_an_owner_are_set_listed_and_reset(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_RETENTION_DAYS", "30")
    setting = "30 (MILLRACE_RETENTION_DAYS)"
    for arguments, shown in (
        ((), f"all others: {setting}"),
        (("ada",), None),
        (("ada", "9"), "ada: 9"),
        (("bob", "forever"), "bob: forever"),
        ((), f"ada: 9\nbob: forever\nall others: {setting}"),
        (("ada", "default"), f"ada: {setting}"),
        ((), f"bob: forever\nall others: {setting}"),
    ):
        if shown is None:
            with pytest.raises(SystemExit):
                main(["retain", *arguments])
            assert "takes a number of days" in capsys.readouterr().err
        else:
            assert main(["retain", *arguments]) == 0
            assert capsys.readouterr().out == f"{shown}\n"
    for wrong in ("0", "-1", "36501", "1.5", "x", "٣"):
        with pytest.raises(SystemExit):
            main(["retain", "ada", wrong])


def test_bad_setting_and_missing_database_are_reported(
    site: WebHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    for command in (["export", "ada"], ["delete", "--yes", "ada"], ["retain"]):
        assert main(command) == 1
        assert "the database, does not exist" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
    monkeypatch.setenv("MILLRACE_RETENTION_DAYS", "-1")
    assert main(["retain"]) == 1
    assert "MILLRACE_RETENTION_DAYS: takes a whole number from 0 to 36500" in capsys.readouterr().err
