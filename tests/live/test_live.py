"""The live run makes no call without credentials; with some, here for the local endpoint, it fills its whole table."""

import os
import re
import subprocess
import sys

from tests.emulator_process import EmulatorProcess
from tests.system import ROOT


def live(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "tests.live", *flags],
        cwd=ROOT,
        env={**clean, "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_credentials_every_case_is_skipped_in_words_and_nothing_fails() -> None:
    run = live()
    assert run.returncode == 0, run.stderr
    assert "| all | bedrock/global.anthropic." in run.stdout
    assert "| skipped | no AWS credentials: set AWS_PROFILE" in run.stdout
    assert run.stdout.endswith("0 ok, 0 failed, 1 skipped\n")


def test_with_credentials_each_case_has_its_figures_and_a_cancelled_answer_is_closed_at_once() -> None:
    with EmulatorProcess() as emulator:
        local = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        run = live("--seconds", "0.5", MILLRACE_BEDROCK_ENDPOINT_URL=emulator.url, **local)
        assert run.returncode == 0, run.stdout + run.stderr
        rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines() if "bedrock/" in line]
        assert [(row[0], row[2]) for row in rows] == [
            ("ConverseStream", "ok"),
            ("whole answer", "ok"),
            ("0.5 s", "ok"),
            ("cancel at delta 20", "ok"),
        ]
        figures = {row[0]: row[3] for row in rows}
        assert re.search(r"first text \d\.\d\d s; .* deltas .*; \w+; \d+ \+ \d+ tokens$", figures["ConverseStream"])
        assert figures["cancel at delta 20"].startswith("first text ")
        assert "; 20 deltas in" in figures["cancel at delta 20"]
        assert "closed by us; no usage reported: at least the" in figures["cancel at delta 20"]
        emulator.wait_for(lambda calls: calls[-1]["ended"] == "closed_by_client")
