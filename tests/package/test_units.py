"""The lines of the systemd units as processes: started, reported as ready, reloaded and stopped as systemd does it.

The file system is read-only but for the directories that a unit is given. Only the unit's user is not the test's.
"""

import os
import shlex
import socket
import subprocess
from configparser import SectionProxy
from contextlib import ExitStack
from pathlib import Path

from deploy.environment import base_python
from tests.client import Client, emulate, text_of, wait_for
from tests.docs.test_deploy_files import MIGRATION, PROCESSES, unit
from tests.emulator_process import EmulatorProcess
from tests.package.containers import obstacle
from tests.valkey import ValkeyProcess, free_port

ROOT = Path(__file__).parents[2]
INSTALLED = "/opt/millrace"
PYTHON = "/usr/bin/python3"
LISTEN = "127.0.0.1:8000"


class Unit:
    """A unit with its settings, in a directory that stands in for those which systemd makes."""

    def __init__(self, section: SectionProxy, directory: Path, settings: dict[str, str], port: int) -> None:
        self.section, self._directory, self._port = section, directory, port
        self.log = directory / "log"
        (directory / "tmp").mkdir(parents=True)
        (directory / "run").mkdir()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))}
        self._environment = {**clean, **settings, "TMPDIR": str(directory / "tmp")}
        if given := section.get("Environment"):
            name, _, value = given.partition("=")
            self._environment[name] = self._filled(value)

    @property
    def stop_seconds(self) -> float:
        """The seconds between SIGTERM and SIGKILL."""
        return float(self.section["TimeoutStopSec"])

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one of its lines."""
        command = shlex.split(self._filled(self.section[name]))
        command = [environment.get(word.removeprefix("$"), word) for word in command]
        if not obstacle():
            own = shlex.quote(str(self._directory.parent))
            script = f'mount --bind {own} {own}; mount -o remount,bind,ro /; exec "$@"'
            command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", script, "sh", *command]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env={**self._environment, **environment}, stdout=log, stderr=log)

    def _filled(self, line: str) -> str:
        """Put this checkout, a free port and the instance's name into a line."""
        runtime = self.section.get("RuntimeDirectory", "no runtime directory")
        own = (
            line.replace(INSTALLED, str(ROOT))
            .replace(PYTHON, base_python())
            .replace(f"/run/{runtime}", str(self._directory / "run"))
        )
        return own.replace(LISTEN, f"127.0.0.1:{self._port}").replace("%i", "1").replace("%%", "%")


def test_lines_of_the_units_start_report_reload_stream_and_stop_in_time(tmp_path: Path) -> None:
    port = free_port()
    valkey_directory = tmp_path / "valkey"
    valkey_directory.mkdir()
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyProcess(valkey_directory))
        emulator = stack.enter_context(EmulatorProcess())
        settings = {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key",
            "MILLRACE_REDIS_URL": valkey.url,
            "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db",
            "MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url,
        }
        worker_name = PROCESSES[1].stem
        web, worker = (Unit(unit(path), tmp_path / path.stem, settings, port) for path in PROCESSES)
        migration = Unit(unit(MIGRATION), tmp_path / MIGRATION.stem, settings, port)
        assert migration.start("ExecStart").wait(120) == 0, migration.log.read_text()
        notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notices.bind(str(tmp_path / "notify"))
        notices.settimeout(120)
        server = web.start("ExecStart", NOTIFY_SOCKET=str(tmp_path / "notify"))
        stack.callback(server.kill)
        consumer = worker.start("ExecStart")
        stack.callback(consumer.kill)
        assert_reported(notices, "READY=1")
        wait_for((tmp_path / worker_name / "run" / "pulse").exists, 120, "the worker's heartbeat file")
        assert worker.start("ExecStartPost").wait(float(worker.section["TimeoutStartSec"])) == 0, worker.log.read_text()
        with Client(f"http://127.0.0.1:{port}") as client:
            assert text_of(client.whole(client.ask(emulate(text="of units")))) == "of units"
            assert_reloads(web, server, client)
        for process in (server, consumer):
            process.terminate()
        assert server.wait(web.stop_seconds) == 0, web.log.read_text()
        assert consumer.wait(worker.stop_seconds) == 0, worker.log.read_text()


def assert_reported(notices: socket.socket, state: str) -> None:
    while state not in notices.recv(4096).decode().splitlines():
        pass


def assert_reloads(web: Unit, server: subprocess.Popen[bytes], client: Client) -> None:
    """Reload while an answer streams: its stream ends in order, and the new processes continue it."""
    generation = client.ask(emulate(text="wheel " * 100, tokens=100, rate=10))
    events = client.follow(generation)
    received = [next(events) for _ in range(4)]
    started = web.log.read_text().count("mount_started")
    assert web.start("ExecReload", MAINPID=str(server.pid)).wait(60) == 0
    received += events
    wait_for(lambda: web.log.read_text().count("mount_started") >= started + 2, 120, "the new processes")
    received += client.follow(generation, after=received[-1].cursor)
    assert text_of(received) == "wheel " * 100
    assert server.poll() is None
