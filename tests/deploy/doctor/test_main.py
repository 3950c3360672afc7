"""`deploy/run.py --check` where nothing runs, and with a bad setting; tests/journeys/test_doctor.py checks a system."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system import RUN


def check(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=RUN.parent.parent,
        env={**clean, "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_without_a_system_every_check_still_reports_and_the_code_is_1(tmp_path: Path) -> None:
    away = {"MILLRACE_REDIS_URL": "redis://127.0.0.1:1/0", "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/no.db"}
    run = check(str(RUN), "--check", "--json", "--state", str(tmp_path), "--url", "http://127.0.0.1:1", **away)
    assert run.returncode == 1, run.stderr
    assert f"nothing runs in {tmp_path}; checking what this environment names" in run.stderr
    findings: list[dict[str, Any]] = json.loads(run.stdout)
    found = {each["subject"].split()[0] for each in findings if each["status"] == "failed"}
    assert found == {"redis", "database", "workers", "model", "url"}, findings
    assert all(each["advice"] for each in findings if each["status"] != "ok")


def test_bad_setting_is_named_and_nothing_else_is_checked() -> None:
    run = check("-m", "deploy.doctor", MILLRACE_LEASE_SECONDS="soon")
    assert run.returncode == 1
    assert "failed   settings: MILLRACE_LEASE_SECONDS: takes seconds from 1 to 300" in run.stdout
    assert "redis" not in run.stdout
