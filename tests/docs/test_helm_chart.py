"""The Helm chart: rendered by Helm itself, valid for Kubernetes, and in agreement with the code."""

import re
from itertools import product
from typing import Any

import pytest

import millrace
from tests.docs.chart import (
    CHART,
    FULL,
    MINIMAL,
    NAME,
    TIERS,
    Json,
    environment_of,
    find,
    full,
    pods,
    render,
    require_helm,
    templates,
    web_end_seconds,
    worker_end_seconds,
)
from tests.docs.pages import ROOT, read

OLDEST_KUBERNETES = (1, 27)
FOREIGN_KINDS = ("ScaledObject", "PodMonitor", "PrometheusRule")  # test_helm_monitoring.py has their schemas

pytestmark = pytest.mark.usefixtures("_engine")


@pytest.fixture(scope="module")
def _engine() -> None:
    require_helm()


def test_chart_has_the_version_of_the_package_and_passes_helms_linter() -> None:
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(str(CHART)) as chart:
        assert chart.version == millrace.__version__
    assert f"appVersion: {millrace.__version__}\n" in (CHART / "Chart.yaml").read_text()
    found = helm.lint(str(CHART), MINIMAL)
    assert not found["errors"]
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]


def test_objects_are_valid_for_every_version_of_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    versions = [each for each in validate.utils.all_versions() if _pair(each) >= OLDEST_KUBERNETES]
    objects = [*render(MINIMAL), *full(), *render(MINIMAL | {"worker": {"autoscaling": {"enabled": True}}})]
    unique = {str(each): each for each in objects if each["kind"] not in FOREIGN_KINDS}
    for version, each in product((versions[0], versions[-1]), unique.values()):
        validate.validate(each, version, strict=True)
    assert {each["kind"] for each in unique.values()} == {
        *("Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget"),
        *("Service", "ServiceAccount"),
    }


def test_every_pod_runs_as_a_user_without_rights_on_a_read_only_file_system_within_limits() -> None:
    for name, pod in pods(full()).items():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "deploy/container/Dockerfile").read_text()
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"], name
        assert not rights["allowPrivilegeEscalation"], name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("grace", [0, 5, 90])
def test_pods_have_longer_to_end_than_the_processes_in_them_take(grace: int) -> None:
    found = pods(render(MINIMAL | {"shutdownGraceSeconds": grace}))
    for tier in TIERS:
        settings = environment_of(found[tier]["containers"][0])
        assert settings["MILLRACE_SHUTDOWN_GRACE_SECONDS"] == str(grace)
    (pause,) = found["web"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert found["web"]["terminationGracePeriodSeconds"] > int(pause) + grace + web_end_seconds()
    assert found["worker"]["terminationGracePeriodSeconds"] > grace + worker_end_seconds()


def test_commands_and_settings_exist() -> None:
    scripts = (ROOT / "pyproject.toml").read_text()
    commands = {name: pod["containers"][0].get("command", []) for name, pod in pods(full()).items()}
    assert commands["web"] == [], "the image's own command"
    for name in ("worker", "migrate"):
        assert f"\n{commands[name][0]} = " in scripts
    documented = read(ROOT / "deploy/docs/settings.md")
    named = {name for path in templates() for name in re.findall(r"MILLRACE_[A-Z_]+", path.read_text())}
    assert len(named) > 8
    assert not [name for name in sorted(named) if f"`{name}`" not in documented]


def test_each_tier_gets_its_own_secrets_and_settings_and_no_others() -> None:
    containers = {name: pod["containers"][0] for name, pod in pods(full()).items()}
    secrets = {
        name: [each["secretRef"]["name"] for each in containers[name]["envFrom"]] for name in (*TIERS, "migrate")
    }
    assert secrets == {"web": ["data", "web"], "worker": ["data", "model"], "migrate": ["data"]}
    settings = {name: environment_of(containers[name]) for name in (*TIERS, "migrate")}
    assert [name for name, given in settings.items() if "MILLRACE_MAX_READERS" in given] == ["web"]
    assert all(given["MILLRACE_LEASE_SECONDS"] == "9" for given in settings.values())
    assert settings["web"]["MILLRACE_TRUSTED_PROXIES"] == "1"
    own = MINIMAL | {"settings": {"MILLRACE_LEASE_SECONDS": 9}, "web": {"settings": {"MILLRACE_LEASE_SECONDS": 7}}}
    tiers = pods(render(own))
    assert [environment_of(tiers[tier]["containers"][0])["MILLRACE_LEASE_SECONDS"] for tier in TIERS] == ["7", "9"]


def test_selectors_and_targets_name_pods_of_the_chart() -> None:
    labels = {tier: find(full(), "Deployment", tier)["spec"]["template"]["metadata"]["labels"] for tier in TIERS}
    selectors: list[tuple[str, Json]] = [("web", find(full(), "Service")["spec"]["selector"])]
    for tier in TIERS:
        kinds = ("Deployment", "PodDisruptionBudget", "PodMonitor")
        selectors += [(tier, find(full(), kind, tier)["spec"]["selector"]["matchLabels"]) for kind in kinds]
        selectors.append((tier, find(full(), "NetworkPolicy", tier)["spec"]["podSelector"]["matchLabels"]))
        (endpoint,) = find(full(), "PodMonitor", tier)["spec"]["podMetricsEndpoints"]
        ports = find(full(), "Deployment", tier)["spec"]["template"]["spec"]["containers"][0]["ports"]
        assert endpoint["port"] in [each["name"] for each in ports]
    for tier, selector in selectors:
        assert selector.items() <= labels[tier].items()
        assert selector["app.kubernetes.io/component"] == tier
    targets = [
        find(full(), kind)["spec"]["scaleTargetRef"]["name"] for kind in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert targets == [f"{NAME}-web", f"{NAME}-worker"]
    for tier in TIERS:
        assert "replicas" not in find(full(), "Deployment", tier)["spec"], "the autoscaler sets them"
        assert find(render(MINIMAL), "Deployment", tier)["spec"]["replicas"] == 2


def test_ingress_waits_as_long_as_the_documented_nginx() -> None:
    (seconds,) = set(re.findall(r"proxy_read_timeout (\d+)s;", read(ROOT / "deploy/docs/behind-nginx.md")))
    notes: dict[str, str] = find(full(), "Ingress")["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/proxy-read-timeout"] == seconds
    assert notes["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"


def test_migration_runs_before_the_pods_of_the_new_version_and_needs_nothing_of_the_chart() -> None:
    job = find(full(), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "serviceAccountName" not in job["spec"]["template"]["spec"], "the chart makes it only after this job"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "secrets.shared"),
    (MINIMAL | {"wbe": {}}, "wbe"),
    (MINIMAL | {"web": {"replica": 3}}, "replica"),
    (MINIMAL | {"web": {"replicas": "three"}}, "/web/replicas"),
    (MINIMAL | {"settings": {"MILLRACE_SECRET_KEY": "s"}}, "settings.MILLRACE_SECRET_KEY"),
    (MINIMAL | {"worker": {"settings": {"OPENAI_API_KEY": "s"}}}, "settings.OPENAI_API_KEY"),
    (MINIMAL | {"settings": {"MILLRACE_REDIS_URL": "redis://:secret@redis/0"}}, "settings.MILLRACE_REDIS_URL"),
    (MINIMAL | {"settings": {"MILLRACE_BROKER_URL": "redis://h/0?password=secret"}}, "settings.MILLRACE_BROKER_URL"),
    (MINIMAL | {"settings": {"MILLRACE_PULSE_FILE": "/tmp/pulse"}}, "MILLRACE_PULSE_FILE"),
    (MINIMAL | {"worker": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}}, "worker.keda"),
    (MINIMAL | {"ingress": {"enabled": True}}, "ingress.host"),
    (MINIMAL | {"monitoring": {"podMonitor": {"enabled": True}}}, "tokenSecret.name"),
    (MINIMAL | {"shutdownGraceSeconds": -1}, "shutdownGraceSeconds"),
]


def test_bad_values_are_refused_by_name() -> None:
    helm = pytest.importorskip("helm_python")
    for values, name in REFUSED:
        with pytest.raises(helm.HelmError, match=re.escape(name)):
            render(values)
    assert render(FULL), "the schema knows every value, because it allows no other"


def _pair(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
