"""Plug-in sources are loaded by import path; a bad path stops the start and names the setting."""

from pathlib import Path

import pytest

from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.context.sources import load_plugins
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load

HERE = "tests.worker.context.test_sources_plugins"


class Clock:
    """A source as an app would write it."""

    name = "clock"
    seconds = 1

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        return ContextPart(instructions="It is late.")


clock = Clock()


@pytest.fixture(autouse=True)
def _exiting_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module that ends the process as soon as it is imported."""
    (tmp_path / "exiting_source.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(tmp_path)


def load_named(path: str) -> list[str]:
    return [source.name for source in load_plugins(load({"MILLRACE_CONTEXT": path}))]


def test_plugins_are_in_the_order_of_the_setting() -> None:
    assert load_named(f"{HERE}:clock, {HERE}:clock") == ["clock", "clock"]
    assert load_plugins(load({})) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{HERE}:nothing", "cannot be imported"),
        ("nowhere.at_all:source", "cannot be imported"),
        ("exiting_source:source", "cannot be imported: SystemExit"),
        (f"{HERE}:HERE", "is not a source"),
        (f"{HERE}:Clock", "is not a source"),
        ("no path", "takes import paths"),
        ("package.module", "takes import paths"),
    ],
)
def test_a_path_that_is_not_a_source_stops_the_start(path: str, message: str) -> None:
    with pytest.raises(SettingError, match=f"MILLRACE_CONTEXT: .*{message}"):
        load_named(path)
