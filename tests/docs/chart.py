"""The Helm chart, rendered by Helm's own engine, and what the tests of it share."""

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docs.pages import ROOT

CHART = ROOT / "deploy/helm/millrace"
RELEASE = "demo"
NAME = f"{RELEASE}-millrace"
Json = dict[str, Any]
MINIMAL: Json = {"secrets": {"shared": "data", "web": "web", "worker": "model"}}
FULL: Json = MINIMAL | {
    "settings": {"MILLRACE_MODEL_ID": "a-model", "MILLRACE_LEASE_SECONDS": 9},
    "web": {"settings": {"MILLRACE_MAX_READERS": 2000}, "autoscaling": {"enabled": True}},
    "worker": {"keda": {"enabled": True}, "serviceAccount": {"create": True, "annotations": {"a": "b"}}},
    "images": {"existingClaim": "images"},
    "ingress": {"enabled": True, "host": "chat.example.com", "tlsSecret": "certificate"},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
    "monitoring": {
        "podMonitor": {"enabled": True, "tokenSecret": {"name": "data"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "imagePullSecrets": [{"name": "registry"}],
}
TIERS = ("web", "worker")


def require_helm() -> None:
    """Skip the test where Helm's engine is not installed; where CI is set it must be."""
    if find_spec("helm_python") is None:
        assert "CI" not in os.environ, "helm-python-sdk is not installed"
        pytest.skip("helm-python-sdk is not installed")


def render(values: Json) -> list[Json]:
    """Return all objects that the chart makes of the values; raises HelmError where they are refused."""
    import_helm = pytest.importorskip("helm_python")
    with import_helm.Chart.load(str(CHART)) as chart:
        rendered: dict[str, str] = chart.render(values, name=RELEASE, namespace="chat")
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [each for text in texts for each in YAML(typ="safe").load_all(text) if each]


@cache
def full() -> tuple[Json, ...]:
    """Return the objects with everything switched on."""
    return tuple(render(FULL))


def find(objects: tuple[Json, ...] | list[Json], kind: str, name: str = "") -> Json:
    """Return the one object of this kind whose name ends like this."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return found


def pods(objects: tuple[Json, ...] | list[Json]) -> dict[str, Json]:
    """Return each pod's specification by the name of its container."""
    specifications = [
        each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] in ("Deployment", "Job", "Pod")
    ]
    return {each["containers"][0]["name"]: each for each in specifications}


def environment_of(container: Json) -> dict[str, str]:
    """Return the variables that a container is given by their values."""
    return {each["name"]: each["value"] for each in container["env"]}


def constant(path: str, expression: str) -> float:
    """Return the number that an expression finds in a source file, without importing it."""
    (found,) = re.findall(expression, (ROOT / path).read_text("utf-8"), re.MULTILINE)
    return float(found)


def worker_end_seconds() -> float:
    """Return the seconds after the grace in which a worker has ended."""
    handover = constant("worker/upkeep/deadlines.py", r"^HANDOVER_SECONDS = ([\d.]+)")
    return handover + constant("worker/tasks.py", r"^EXIT_SECONDS = ([\d.]+)")


def web_end_seconds() -> float:
    """Return the seconds after the grace in which a web process has ended."""
    return constant("webapp/gunicorn_config.py", r"^graceful_timeout = ceil\(.+\) \+ (\d+)")


def templates() -> list[Path]:
    """Return the chart's files."""
    return sorted(path for path in CHART.rglob("*") if path.is_file())
