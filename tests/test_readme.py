"""The README says what is there, and what it shows works as pasted."""

import re
from pathlib import Path
from typing import get_args

import pytest

from millrace.worker.contract.events import AnyEvent
from millrace.worker.settings.schema import variables

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_setting_is_in_the_readme_with_its_line(name: str) -> None:
    rows = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
    assert any(variables()[name] in row for row in rows)


@pytest.mark.parametrize("event", get_args(AnyEvent))
def test_every_event_is_in_the_readme(event: type) -> None:
    tag = str(event.__struct_config__.tag)  # pyright: ignore[reportAttributeAccessIssue]
    assert any(f"`{tag}`" in line.split("|")[1] for line in README.splitlines() if line.startswith("| `"))


def test_every_flag_of_the_start_command_is_in_the_readme() -> None:
    source = (Path(__file__).parent.parent / "deploy").rglob("*.py")
    flags = {flag for path in source for flag in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text("utf-8"))}
    assert len(flags) >= 8
    assert not [flag for flag in flags - {"--host"} if flag not in README]
