"""The services of the compose file as processes: commands, variables and health checks, in containers of the image."""

import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.browser.nginx import Nginx, program, put
from tests.client import Client, emulate, text_of, wait_for
from tests.package.conftest import CONTAINER, Backing
from tests.package.containers import Container, give
from tests.package.dockerfile import PORT, Stage
from tests.valkey import ValkeyProcess, free_port

Json = dict[str, Any]
METRICS_PORT = "9100"
SECRETS = {
    "VALKEY_PASSWORD": "password",
    "POSTGRES_PASSWORD": "password",
    "MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key",
    "MILLRACE_METRICS_TOKEN": "a-token-of-this-test",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
}

pytestmark = pytest.mark.timeout(900)  # the first test of all builds the image


def environment_file() -> dict[str, str]:
    """Return the variables of the example, filled in as its first line asks for."""
    lines = re.findall(r"^(\w+)=(.*)$", (CONTAINER / "example.env").read_text(), re.MULTILINE)
    given = dict(lines) | SECRETS
    assert not [name for name, value in given.items() if not value], "filled in"
    assert given.keys() == dict(lines).keys(), "the example names every variable that must be filled in"
    return given


def services(variables: dict[str, str]) -> Json:
    """Return the services of the compose file, with the variables in their places."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1]) or match[2].removeprefix("-")

    text = re.sub(r"(?<!\$)\$\{(\w+):([?-][^}]*)\}", value, (CONTAINER / "compose.yaml").read_text())
    return YAML(typ="safe").load(text)["services"]


class Service:
    """A service of the image: its command and its variables, with the addresses of this test."""

    def __init__(self, service: Json, image: Stage, directory: Path, addresses: dict[str, str]) -> None:
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]
        self.service, self.port, self.metrics_port = service, free_port(), free_port()
        self._log = directory.with_suffix(".log")
        environment = {**image.environment, **environment_file(), **service["environment"]}
        for name, given in environment.items():
            for old, new in addresses.items():
                environment[name] = environment[name].replace(old, new) if "://" in given else environment[name]
        if "MILLRACE_METRICS_PORT" in environment:
            assert environment["MILLRACE_METRICS_PORT"] == METRICS_PORT
            environment |= {"MILLRACE_METRICS_PORT": str(self.metrics_port), "MILLRACE_METRICS_ADDRESS": "127.0.0.1"}
        environment["MILLRACE_BEDROCK_ENDPOINT_URL"] = addresses["emulator"]
        self._image = image
        self.container = Container(image.root, image.user, image.directory, give(directory, image.user), environment)

    @property
    def stop_seconds(self) -> float:
        """The seconds between SIGTERM and SIGKILL."""
        return float(self.service["stop_grace_period"].removesuffix("s"))

    def start(self) -> subprocess.Popen[bytes]:
        """Start its command, or that of the image where it has none."""
        return self.container.start(self.service.get("command") or self._image.command_on(self.port), self._log)

    def is_healthy(self) -> bool:
        """Run its health check once, or that of the image where it has none."""
        own = self.service.get("healthcheck", {}).get("test", ["CMD", *self._image.healthcheck])
        assert own[0] == "CMD"
        command = [each.replace(f":{PORT}/", f":{self.port}/") for each in own[1:]]
        return self.container.run(command, 60).returncode == 0

    def log(self) -> str:
        """Return all that it has written."""
        return self._log.read_text("utf-8", "replace")


def test_services_are_healthy_stream_through_nginx_and_stop_in_time(
    image: Stage, backing: Backing, tmp_path: Path
) -> None:
    variables = environment_file()
    found = services(variables)
    (tmp_path / "valkey").mkdir()
    server, *options = found["valkey"]["command"]
    assert server == "valkey-server"
    with ExitStack() as stack:
        password = variables["VALKEY_PASSWORD"]
        valkey = stack.enter_context(ValkeyProcess(tmp_path / "valkey", *options, password=password))
        assert_valkey_answers(found["valkey"], valkey.port)
        database = backing.database("compose")
        addresses = {
            "valkey:6379": f"127.0.0.1:{valkey.port}",
            "@postgres/millrace": f"@127.0.0.1:{backing.postgres.port}/compose",
            "emulator": backing.emulator.url,
        }
        assert database.endswith("/compose")
        migrate, web, worker = (
            Service(found[name], image, tmp_path / name, addresses) for name in ("migrate", "web", "worker")
        )
        assert migrate.start().wait(120) == 0, migrate.log()
        assert not [each for each in (web, worker) if each.is_healthy()], "nothing runs yet"
        processes = {each: each.start() for each in (web, worker)}
        for process in processes.values():
            stack.callback(process.kill)
        wait_for(lambda: "mount_started" in web.log(), 120, "the web process")
        wait_for((tmp_path / "worker" / "pulse").exists, 120, "the worker's heartbeat file")
        for each in (web, worker):
            wait_for(each.is_healthy, 120, "the health check")
        assert_streams(web, tmp_path / "nginx", stack)
        for process in processes.values():
            process.terminate()
        for each, process in processes.items():
            assert process.wait(each.stop_seconds) == 0, each.log()
        assert "Traceback" not in web.log() + worker.log()


def assert_valkey_answers(service: Json, port: int) -> None:
    client = shutil.which("redis-cli")
    _, name, *arguments = service["healthcheck"]["test"]
    assert (name, arguments) == ("valkey-cli", ["ping"])
    if client is not None:
        command = [client, "-p", str(port), *arguments]
        asked = subprocess.run(
            command, env={**os.environ, **service["environment"]}, capture_output=True, text=True, check=False
        )
        assert asked.stdout == "PONG\n"


def assert_streams(web: Service, directory: Path, stack: ExitStack) -> None:
    """Ask through nginx, where there is one, else the web process itself."""
    url = f"http://127.0.0.1:{web.port}"
    if program() is not None:
        code = put((CONTAINER / "nginx.conf").read_text(), "web:8000", "127.0.0.1:8000")
        nginx = stack.enter_context(
            Nginx(directory, put(code, "server_name _", "server_name chat.example.com"), web.port)
        )
        url = nginx.url("127.0.0.1")
    with Client(url) as client:
        assert text_of(client.whole(client.ask(emulate(text="of services")))) == "of services"
        if program() is not None:
            assert client.http.get("/metrics").status_code == 403
        page = client.http.get("/").text
        (script,) = re.findall(r'src="(static/[0-9a-f]{16}/bundle/page\.js)"', page)
        assert client.http.get(f"/{script}").status_code == 200, "the bundle of the image"
