"""The command as a user calls it: on a bare Python, with typical loads, a load of its own, other assumptions."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deploy.capacity_command import TYPICAL, assumptions, main, render
from deploy.capacity_plan import CapacityBounds, HourlyPrices, UsageCosts, plan_for
from tests.docs.pages import commands_of, run_by

ROOT = Path(__file__).resolve().parent.parent.parent


PAGE = ROOT / "deploy/docs/capacity.md"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_runs_without_an_environment_and_shows_the_typical_loads() -> None:
    command = [sys.executable, "-S", str(ROOT / "deploy/capacity.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.count("breaks first: ") == len(TYPICAL)
    plans = (plan_for(each, UsageCosts(), CapacityBounds(), HourlyPrices()) for each in TYPICAL)
    assert run.stdout == "\n\n".join(map(render, plans)) + "\n"


def test_commands_of_the_page_about_capacity_run_as_pasted() -> None:
    found = run_by("test_commands_of_the_page_about_capacity_run_as_pasted")
    commands = [command for block in found for command in commands_of(block)]
    assert len(commands) >= 3
    for command in commands:
        run = subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, check=True)
        assert run.stdout
        assert "--" in command or run.stdout.strip() in PAGE.read_text("utf-8"), "the page shows another plan"


def test_assumptions_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    groups = UsageCosts(), CapacityBounds(), HourlyPrices()
    expected = {name: f"{value:,g}" for group in groups for name, value in asdict(group).items()}
    assert dict(rows) == expected


def test_flags_change_the_load(capsys: pytest.CaptureFixture[str]) -> None:
    load = ("--readers", "5000", "--answers", "500")
    (plain,) = said(capsys, *load)
    (packed,) = said(capsys, *load, "--compression")
    (short,) = said(capsys, *load, "--ttl", "60")
    assert (plain["load"]["readers"], plain["load"]["answers"]) == (5000, 500)
    assert packed["gbit_out"] < plain["gbit_out"]
    assert packed["tiers"][0]["busy_cores"] > plain["tiers"][0]["busy_cores"]
    assert short["tiers"][2]["memory_gb"] < plain["tiers"][2]["memory_gb"] / 10


def test_assumptions_are_read_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = tmp_path / "own.json"
    given.write_text('{"core_hour": 0, "gb_hour": 0, "gb_out": 0}')
    assert {each["hourly_cost"] for each in said(capsys, "--set", str(given))} == {0}


def test_bad_flags_and_assumptions_are_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in (["--readers", "5"], ["--readers", "0", "--answers", "1"], ["--rate", "x"], ["--rate", "nan"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert arguments[0] in capsys.readouterr().err
    for text, names in {
        '{"core": 1}': "core_hour",
        '{"core_hour": -1}': "core_hour takes",
        '{"web_share": "x"}': "web_share takes",
        '{"web_share": 0}': "above 0",
        "[]": "object",
        "{": "Expecting",
    }.items():
        with pytest.raises(ValueError, match=names):
            assumptions(text)
    assert main(["--set", str(tmp_path / "absent.json")]) == 1
    assert "absent.json" in capsys.readouterr().err
