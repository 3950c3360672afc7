"""The files for engines that are not here: checked against their schemas, the documentation and the settings."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from millrace.worker.settings.schema import Settings
from tests.browser.nginx import block
from tests.docs.pages import ROOT, pages, read

CONTAINER = ROOT / "deploy/container"
COMPOSE = CONTAINER / "compose.yaml"
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
MIGRATION, *PROCESSES = UNITS
HANDOVER_SECONDS = 8  # after the grace time, in which a worker hands its answers over
STOP_SECONDS = Settings.of().worker.shutdown_grace_seconds + HANDOVER_SECONDS
SCRIPTS = ("millrace-worker", "millrace-migrate", "millrace-assets")


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return loaded


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser["Service"]


def test_dockerfile_passes_its_linter() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    checked = subprocess.run([hadolint, CONTAINER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_image_is_built_from_what_the_package_needs_and_from_nothing_else() -> None:
    ignored = (CONTAINER / "Dockerfile.dockerignore").read_text().split()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert sent == {
        ".package",
        ".github/LICENSE",
        "README.md",
        "pyproject.toml",
        "webapp",
        "worker",
        "deploy/constraints",
    }
    for path in (*sent, "deploy/constraints/run.txt", "deploy/constraints/assets.txt"):
        assert (ROOT / path).exists(), path


def test_image_runs_as_a_user_and_has_only_documented_settings() -> None:
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    assert re.search(r"^USER (?!0|root)", dockerfile, re.MULTILINE)
    for name in re.findall(r"MILLRACE_\w+", dockerfile):
        assert f"`{name}`" in read(ROOT / "deploy/docs/settings.md"), name


def test_compose_file_fits_its_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_compose_runs_both_tiers_twice_without_rights_and_stops_them_gently() -> None:
    services = compose()["services"]
    for name in ("web", "worker"):
        assert services[name]["deploy"]["replicas"] == 2
    for name in ("web", "worker", "migrate"):
        service = services[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS, name
    assert services["worker"]["command"][0] in SCRIPTS
    assert services["migrate"]["command"][0] in SCRIPTS
    assert "noeviction" in services["valkey"]["command"]


def test_prometheus_of_the_compose_file_reads_each_tier_at_its_own_port() -> None:
    services = compose()["services"]
    jobs = YAML(typ="safe").load(CONTAINER / "prometheus.yaml")["scrape_configs"]
    ports = {each["dns_sd_configs"][0]["names"][0]: each["dns_sd_configs"][0]["port"] for each in jobs}
    assert ports.keys() == {"web", "worker"} <= services.keys()
    assert f":{ports['web']}" in (CONTAINER / "Dockerfile").read_text()
    assert services["worker"]["environment"]["MILLRACE_METRICS_PORT"] == str(ports["worker"])
    mounted = [each.partition(":")[0] for name in ("prometheus", "grafana") for each in services[name]["volumes"]]
    files = [each for each in mounted if each.startswith(".")]
    assert len(files) >= 3
    assert not [each for each in files if not (CONTAINER / each).is_file()]


def test_example_environment_names_every_variable_of_the_compose_file() -> None:
    given = set(re.findall(r"^(\w+)=", (CONTAINER / "example.env").read_text(), re.MULTILINE))
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert required
    assert required <= given


def test_nginx_restarts_with_the_web_containers_whose_addresses_it_learns_at_its_start() -> None:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    assert loaded["services"]["nginx"]["depends_on"] == {"web": {"condition": "service_healthy", "restart": True}}


def test_nginx_of_the_containers_is_the_documented_one() -> None:
    documented = block("behind-nginx.md")
    for old, new in (
        (
            "# /etc/nginx/conf.d/millrace.conf",
            "# The block of deploy/docs/behind-nginx.md, in front of the web containers.",
        ),
        ("127.0.0.1:8000", "web:8000"),
        ("# inside a network; HTTPS is below", "# end TLS in front, or here"),
        ("chat.example.com", "_"),
    ):
        assert documented.count(old) == 1, old
        documented = documented.replace(old, new)
    assert (CONTAINER / "nginx.conf").read_text() == documented


@pytest.mark.parametrize("path", PROCESSES, ids=lambda path: path.name)
def test_unit_runs_a_documented_command_as_a_user_and_stops_it_gently(path: Path) -> None:
    service = unit(path)
    program, _, arguments = service["ExecStart"].partition(" ")
    documented = read(ROOT / "deploy/docs/running.md").replace("0.0.0.0:8000", "127.0.0.1:8000")
    assert f"{Path(program).name} {arguments.partition(' --hostname')[0]}\n" in documented
    assert float(service["TimeoutStopSec"]) > STOP_SECONDS
    assert service["User"] == "millrace"
    assert service["Restart"] == "always"


def test_documented_workers_log_the_lines_that_the_runbook_names() -> None:
    started = [
        f"{path.name}: {line}"
        for path in (*pages(), *UNITS)
        for line in read(path).splitlines()
        if "celery -A millrace.worker.app worker -" in line
    ]
    assert len(started) > 1
    assert [each for each in started if "--loglevel INFO" not in each] == [], "Celery's default is WARNING"


def test_units_pass_systemds_own_check() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    for path in UNITS:
        checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
        complaints = [line for line in checked.stderr.splitlines() if "not executable" not in line]
        assert not complaints, complaints
