"""The pods of the Helm chart as processes: the rendered commands, variables and probes, in containers of the image."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.client import Client, emulate, text_of, wait_for
from tests.docs.chart import MINIMAL, Json, environment_of, pods, render, require_helm
from tests.package.conftest import Backing
from tests.package.containers import Container, give
from tests.package.dockerfile import PORT, Stage
from tests.valkey import ValkeyProcess, free_port

METRICS_PORT = 9100
GRACE_SECONDS = 2
TOKEN = "a-token-of-this-test"

pytestmark = pytest.mark.timeout(900)  # the first test of all builds the image


@dataclass
class Pod:
    """A pod of one container; its ports are free ones of the loopback instead of those of its own network."""

    specification: Json
    image: Stage
    directory: Path
    secrets: Mapping[str, Mapping[str, str]]
    ports: dict[int, int] = field(default_factory=lambda: {PORT: free_port(), METRICS_PORT: free_port()})

    def __post_init__(self) -> None:
        (self.container,) = self.specification["containers"]
        (volume,) = self.container["volumeMounts"]
        assert volume["mountPath"] == "/tmp"
        assert self.specification["volumes"] == [{"name": volume["name"], "emptyDir": {}}]
        assert self.container["securityContext"]["readOnlyRootFilesystem"]
        rights = self.specification["securityContext"]
        self._user = f"{rights['runAsUser']}:{rights['runAsGroup']}"
        self._log = self.directory.with_suffix(".log")
        give(self.directory, self._user)

    @property
    def end_seconds(self) -> float:
        """The seconds between SIGTERM and SIGKILL, of which the pause before SIGTERM takes a part."""
        return float(self.specification["terminationGracePeriodSeconds"])

    def start(self) -> subprocess.Popen[bytes]:
        """Start its command, or that of the image where it has none."""
        command = [*self.container.get("command", []), *self.container.get("args", [])]
        return self._entered().start(command or self.image.command_on(self.ports[PORT]), self._log)

    def run(self, command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as an `exec` probe or a hook does."""
        return self._entered().run(command, seconds)

    def probe(self, name: str) -> str:
        """Ask a probe once; returns why it fails, nothing where it succeeds."""
        probe: Json = self.container[name]
        if "exec" in probe:
            done = self.run(probe["exec"]["command"], probe["timeoutSeconds"] * 3)  # three times as busy as a node
            return "" if done.returncode == 0 else done.stdout
        try:
            answer = httpx.get(
                self.url(probe["httpGet"]["port"]) + probe["httpGet"]["path"], trust_env=False, timeout=30
            )
        except httpx.TransportError as error:
            return str(error) or "no answer"
        return "" if answer.status_code < 400 else answer.text

    def url(self, port_name: str) -> str:
        """Return the address of one of its named ports."""
        (port,) = [each["containerPort"] for each in self.container["ports"] if each["name"] == port_name]
        return f"http://127.0.0.1:{self.ports[port]}"

    def log(self) -> str:
        """Return all that it has written."""
        return self._log.read_text("utf-8", "replace")

    def _entered(self) -> Container:
        named = [each["secretRef"]["name"] for each in self.container.get("envFrom", [])]
        given = {key: value for name in named for key, value in self.secrets[name].items()}
        given |= environment_of(self.container)
        if "MILLRACE_METRICS_PORT" in given:
            assert given["MILLRACE_METRICS_PORT"] == str(METRICS_PORT)
            given |= {"MILLRACE_METRICS_PORT": str(self.ports[METRICS_PORT]), "MILLRACE_METRICS_ADDRESS": "127.0.0.1"}
        environment = {**self.image.environment, **given}
        return Container(self.image.root, self._user, self.image.directory, self.directory, environment)


@dataclass(frozen=True)
class Release:
    """The pods of the chart by the names of their containers, and the container of `helm test`."""

    pods: Mapping[str, Pod]
    test: Json


@pytest.fixture
def chart(image: Stage, backing: Backing, tmp_path: Path) -> Iterator[Release]:
    """The chart with Secrets as the documentation asks for them."""
    require_helm()
    with ValkeyProcess(tmp_path) as valkey:
        secrets = {
            "data": {
                "MILLRACE_REDIS_URL": valkey.url,
                "MILLRACE_DATABASE_URL": backing.database("chart"),
                "MILLRACE_METRICS_TOKEN": TOKEN,
            },
            "web": {"MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key"},
            "model": {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
        }
        settings = {"MILLRACE_BEDROCK_ENDPOINT_URL": backing.emulator.url, "AWS_REGION": "eu-west-1"}
        values = {**MINIMAL, "settings": settings, "shutdownGraceSeconds": GRACE_SECONDS, "web": {"preStopSeconds": 1}}
        specifications = pods(render(values))
        (release_test,) = specifications.pop("readyz")["containers"]
        yield Release(
            {name: Pod(each, image, tmp_path / name, secrets) for name, each in specifications.items()}, release_test
        )


def test_pods_answer_their_probes_stream_and_end_in_time_while_an_answer_streams(chart: Release) -> None:
    web, worker, migration = (chart.pods[name] for name in ("web", "worker", "migrate"))
    with ExitStack() as stack:
        assert migration.start().wait(120) == 0, migration.log()
        processes = {name: chart.pods[name].start() for name in ("web", "worker")}
        for process in processes.values():
            stack.callback(process.kill)
        wait_for((worker.directory / "pulse").exists, 120, "the worker's heartbeat file")
        for pod in (worker, web):
            wait_for(lambda pod=pod: not pod.probe("startupProbe"), 120, "the startup probe")
            assert not pod.probe("livenessProbe")
        wait_for(lambda: not web.probe("readinessProbe"), 120, "the readiness probe")
        (url,) = chart.test["args"]
        tested = [*chart.test["command"], f"{web.url('http')}/{url.rpartition('/')[2]}"]
        wait_for(lambda: '"ready"' in web.run(tested, 60).stdout, 60, "the pod of helm test")
        assert_metrics_ask_for_the_token(web, worker)
        with Client(web.url("http")) as client:
            received = client.whole(client.ask(emulate(text="of pods")))
            assert text_of(received) == "of pods"
            end_while_an_answer_streams(client, web, processes["web"])
        began = time.monotonic()
        processes["worker"].terminate()
        assert processes["worker"].wait(worker.end_seconds) == 0, worker.log()
        assert time.monotonic() - began > GRACE_SECONDS, "the answer went on for the grace"
    assert "Traceback" not in web.log() + worker.log()


def assert_metrics_ask_for_the_token(*asked: Pod) -> None:
    for pod, port in zip(asked, ("http", "metrics"), strict=True):
        url = f"{pod.url(port)}/metrics"
        assert httpx.get(url, trust_env=False, timeout=30).status_code in (401, 403)
        answer = httpx.get(url, trust_env=False, timeout=30, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert "millrace_" in answer.text


def end_while_an_answer_streams(client: Client, web: Pod, process: subprocess.Popen[bytes]) -> None:
    """End the web pod as Kubernetes does; the worker's answer goes on behind it."""
    generation = client.ask(emulate(text="wheel " * 4000, tokens=4000, rate=10))
    events = client.follow(generation)
    received = [next(events) for _ in range(5)]
    began = time.monotonic()
    pause = web.run(web.container["lifecycle"]["preStop"]["exec"]["command"], web.end_seconds)
    assert pause.returncode == 0, pause.stdout
    assert not web.probe("readinessProbe"), "it serves until SIGTERM"
    process.terminate()
    received += events  # no error: the stream ends with the whole of a frame
    assert process.wait(web.end_seconds) == 0, web.log()
    assert time.monotonic() - began > GRACE_SECONDS
    assert received[-1].event["type"] == "chunk"
    assert [each.cursor for each in received] == sorted({each.cursor for each in received}, key=_place)


def _place(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))
