"""One's own sources are had by import path, or the start is stopped with the setting's name."""

import pytest

from millrace.worker.context.plugins import load_own
from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load

HERE = "tests.worker.context.test_plugins"


class Clock:
    """A source as somebody might write it."""

    name = "clock"
    seconds = 1

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        return ContextPart(instructions="It is late.")


clock = Clock()


def load_named(path: str) -> list[str]:
    return [source.name for source in load_own(load({"MILLRACE_CONTEXT": path}))]


def test_sources_come_in_the_settings_order() -> None:
    assert load_named(f"{HERE}:clock, {HERE}:clock") == ["clock", "clock"]
    assert load_own(load({})) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{HERE}:nothing", "can't be imported"),
        ("nowhere.at_all:source", "can't be imported"),
        (f"{HERE}:HERE", "is no source"),
        (f"{HERE}:Clock", "is no source"),
        ("no path", "takes import paths"),
        ("package.module", "takes import paths"),
    ],
)
def test_what_is_no_source_stops_the_start(path: str, said: str) -> None:
    with pytest.raises(SettingError, match=f"MILLRACE_CONTEXT: .*{said}"):
        load_named(path)
