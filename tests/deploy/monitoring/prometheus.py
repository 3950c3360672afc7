"""Prometheus itself, with the configuration of a test, where Debian's package is installed."""

import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.client import wait_for
from tests.deploy.monitoring.promtool import installed
from tests.valkey import free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0
Sample = dict[str, Any]


class Prometheus:
    """The HTTP API of a running Prometheus (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    def __init__(self, url: str) -> None:
        # Without `verify=False`, reading the certificates of the world costs more than all the requests of a test.
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False, verify=False)

    def is_ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of a successful answer."""
        body: dict[str, Any] = self.http.get(f"/api/v1/{path}", params=parameters).json()
        assert body["status"] == "success", body
        return body["data"]

    def query(self, query: str) -> list[Sample]:
        """Return the samples of a query now that are numbers."""
        samples: list[Sample] = self.get("query", query=query)["result"]
        return [each for each in samples if each["value"][1] != "NaN"]

    def query_range(self, query: str, start: float, end: float, step: float) -> list[Sample]:
        """Return the series of a query between two times."""
        found: list[Sample] = self.get("query_range", query=query, start=start, end=end, step=step)["result"]
        return found


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, str], interval: str = "1s") -> Generator[Prometheus]:
    """Run Prometheus over targets (`host:port` → path of its metrics) with the shipped alerts.

    Skips the test where it is not installed, unless CI is set.
    """
    program = installed("prometheus")
    jobs = "".join(
        f"  - {{job_name: millrace-{number}, metrics_path: {path}, static_configs: [{{targets: ['{address}']}}]}}\n"
        for number, (address, path) in enumerate(targets.items())
    )
    alerts = Path(__file__).parents[3] / "deploy/monitoring/alerts.yaml"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prometheus.yaml").write_text(
        f"global: {{scrape_interval: {interval}, evaluation_interval: 5s}}\n"
        f"rule_files: ['{alerts}']\nscrape_configs:\n{jobs}"
    )
    address = f"127.0.0.1:{free_port()}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={directory}/prometheus.yaml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        running = Prometheus(f"http://{address}")
        with running.http:
            wait_for(running.is_ready, START_SECONDS, "Prometheus")
            yield running
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
