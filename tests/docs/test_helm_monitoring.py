"""The chart's probes, alerts, targets and signals: valid for their operators, and of this release only."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.monitoring.promtool import promtool
from tests.docs.chart import CHART, FULL, NAME, TIERS, Json, constant, find, full, pods, render, require_helm
from tests.docs.pages import ROOT, read

ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
SCHEMAS = Path(__file__).parent / "crds"
WEB, WORKER = (f"{NAME}-{tier}-7d9f8c5b6d-x8k2z" for tier in TIERS)

pytestmark = pytest.mark.usefixtures("_engine")


@pytest.fixture(scope="module")
def _engine() -> None:
    require_helm()


def strict(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, which Kubernetes would drop without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: strict(value) for name, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        changed.setdefault("additionalProperties", False)
    return changed


def test_objects_of_other_operators_are_valid_by_their_own_definitions() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = [each for each in full() if (SCHEMAS / f"{each['kind']}.json").exists()]
    assert {each["kind"] for each in found} == {path.stem for path in SCHEMAS.iterdir()}
    for each in found:
        schema = strict(json.loads((SCHEMAS / f"{each['kind']}.json").read_text("utf-8")))
        schema["properties"]["metadata"] = {}
        jsonschema.validate(each, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(each | {"spec": each["spec"] | {"replicas": 2}}, schema)


def test_probes_ask_for_what_the_processes_answer() -> None:
    web, worker = (pods(full())[tier]["containers"][0] for tier in TIERS)
    paths = {name: web[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz?once=1"}, (
        "Redis's absence restarts no web process, and takes only new ones from their service"
    )
    routes = (ROOT / "webapp/routes/health.py").read_text("utf-8")
    for path in paths.values():
        assert f'@routes.get("{path.partition("?")[0]}")' in routes
    checks = constant("webapp/routes/health.py", r"^CHECK_SECONDS = ([\d.]+)")
    assert web["readinessProbe"]["timeoutSeconds"] > 3 * checks, "Redis and the database may both hang"
    assert f'"0.0.0.0:{web["ports"][0]["containerPort"]}"' in (ROOT / "deploy/container/Dockerfile").read_text("utf-8")
    for probe in ("startupProbe", "livenessProbe"):
        assert worker[probe]["exec"]["command"] == ["python", "-m", "millrace.worker.upkeep.heartbeat_file"]
    start = worker["startupProbe"]
    seconds = constant("worker/upkeep/heartbeat_file.py", r"^MAX_AGE_SECONDS = ([\d.]+)")
    assert start["periodSeconds"] * start["failureThreshold"] > seconds


def queries() -> list[str]:
    return [each["metadata"]["query"] for each in find(full(), "ScaledObject")["spec"]["triggers"]]


def test_metrics_that_scale_the_workers_exist() -> None:
    named = {name for query in queries() for name in re.findall(r"millrace_\w+", query)}
    documented = read(ROOT / "deploy/docs/metrics.md")
    assert len(named) == 3
    assert not [name for name in sorted(named) if f"| `{name}` |" not in documented]


def test_workers_are_scaled_by_the_figures_of_their_own_release(tmp_path: Path) -> None:
    others = (("chat", f"{NAME}-web-two-web-7d9f8c5b6d-x8k2z"), ("chat", f"two-{WEB}"), ("two", WEB))
    series = {
        f'millrace_queue_oldest_seconds{{namespace="chat",pod="{WEB}"}}': 3,
        f'millrace_worker_running{{namespace="chat",pod="{WORKER}"}}': 20,
        f'millrace_worker_capacity{{namespace="chat",pod="{WORKER}"}}': 100,
    }
    for namespace, pod in others:
        series[f'millrace_queue_oldest_seconds{{namespace="{namespace}",pod="{pod}"}}'] = 70
        worker = pod.replace("-web-", "-worker-")
        series[f'millrace_worker_running{{namespace="{namespace}",pod="{worker}"}}'] = 100
        series[f'millrace_worker_capacity{{namespace="{namespace}",pod="{worker}"}}'] = 100
    asked = [
        {"expr": query, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
        for query, value in zip(queries(), (3, 0.2), strict=True)
    ]
    inputs = [{"series": name, "values": f"{value}+0x5"} for name, value in series.items()]
    file = tmp_path / "queries.json"
    file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": asked}]}))
    promtool("test", "rules", str(file))
    own = {"keda": {"enabled": True, "matchers": {"web": 'release="a"', "worker": 'release="b"'}}}
    changed = find(render(FULL | {"worker": own}), "ScaledObject")["spec"]["triggers"]
    assert changed[0]["metadata"]["query"] == 'max(millrace_queue_oldest_seconds{release="a"})'
    assert changed[1]["metadata"]["query"].count('{release="b"}') == 2


def expressions(groups: list[Json]) -> dict[str, str]:
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_alerts_of_the_chart_are_those_of_the_file_and_of_their_own_release(tmp_path: Path) -> None:
    copied = CHART / "files/alerts.yaml"
    assert copied.read_bytes() == ALERTS.read_bytes(), f"cp {ALERTS.relative_to(ROOT)} {copied.relative_to(ROOT)}"
    loaded = YAML(typ="safe").load(ALERTS)["groups"]
    rule = find(full(), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus", "the label by which an operator finds it"
    found, known = expressions(rule["spec"]["groups"]), expressions(loaded)
    (matchers,) = {each for query in found.values() for each in re.findall(r'namespace="chat",pod=~"[^"]+"', query)}
    pattern = re.search(r'pod=~"([^"]+)"', matchers)
    assert pattern
    assert all(re.fullmatch(pattern[1], pod) for pod in (WEB, WORKER))
    for alert, query in found.items():
        names = len(re.findall(r"\b(?:millrace_[a-z_]+|up\b)", query))
        assert query.count(matchers) == names, f"{alert} asks for other releases, too"
        bare = query.replace(f"{{{matchers}}}", "").replace(f"{matchers},", "")
        assert bare == known[alert].replace('{job=~".*millrace.*"}', ""), alert
    rest = [{**each, "expr": ""} for group in rule["spec"]["groups"] for each in group["rules"]]
    assert rest == [{**each, "expr": ""} for group in loaded for each in group["rules"]]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rule["spec"]))
    promtool("check", "rules", str(file))
