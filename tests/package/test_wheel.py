"""The wheel: built from the tracked files, installed into an empty environment, and streaming an answer from there."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from deploy.environment import base_python
from millrace import __version__
from tests.client import Client, assert_complete, emulate, text_of, wait_for
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess, free_port

ROOT = Path(__file__).parents[2]
DATA = (".lua", ".html", ".js", ".css", ".svg", ".d.ts", "py.typed")
FOREIGN = "raise ImportError('the package imports the worker package of its host application')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy that holds the tracked files and nothing else."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(directory), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` directory of a fresh environment that holds the wheel and its pinned dependencies."""
    directory = tmp_path_factory.mktemp("installed")
    python = directory / "bin" / "python"
    subprocess.run([base_python(), "-m", "venv", "--without-pip", str(directory)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    pip.append("--no-compile")  # most modules are never imported here
    pinned = ROOT / "deploy" / "constraints" / "run.txt"
    subprocess.run([*pip, "--require-hashes", "-r", str(pinned)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return python.parent


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_symlink() or (ROOT / name).is_file()]


def test_the_wheel_holds_every_module_and_every_data_file_of_both_tiers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in held if name.endswith(".dist-info/METADATA")]
        (commands,) = [archive.read(name).decode() for name in held if name.endswith("/entry_points.txt")]
    wanted = {
        f"millrace/{name}"
        for name in tracked()
        if name.startswith(("webapp/", "worker/")) and name.endswith((".py", *DATA)) and "/docs/" not in name
    }
    assert not wanted - held
    assert {"millrace/__init__.py", "millrace/py.typed"} <= held
    assert any(name.endswith("/LICENSE") for name in held)
    assert f"Version: {__version__}" in metadata
    assert "License-Expression: MIT" in metadata
    assert "millrace-worker" in commands
    assert "millrace-migrate" in commands


@pytest.fixture
def url(installed: Path, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a system that runs from the installed package, beside a foreign package `worker`."""
    for name in ("worker", "webapp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(FOREIGN)
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyProcess(tmp_path))
        emulator = stack.enter_context(EmulatorProcess())
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_", "PY"))}
        environment = {
            **clean,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key",
            "MILLRACE_REDIS_URL": valkey.url,
            "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db",
            "MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url,
        }
        subprocess.run([str(installed / "millrace-migrate")], cwd=tmp_path, env=environment, check=True)
        port = free_port()
        web = [str(installed / "gunicorn"), "-c", "python:millrace.webapp.gunicorn_config", "--no-control-socket"]
        commands = [
            [str(installed / "millrace-worker"), "--concurrency", "20"],
            [*web, "--bind", f"127.0.0.1:{port}", "millrace.webapp:create_app()"],
        ]
        for number, command in enumerate(commands):
            log = stack.enter_context((tmp_path / f"{number}.log").open("wb"))
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(_end, process)
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: _is_ready(address, tmp_path), 60, "the installed system to be ready")
        yield address


def _is_ready(address: str, directory: Path) -> bool:
    for log in directory.glob("?.log"):
        assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    try:
        return httpx.get(f"{address}/readyz", timeout=3, trust_env=False, verify=False).status_code == 200
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_installed_package_streams_an_answer_beside_a_foreign_package_called_worker(url: str) -> None:
    with Client(url) as client:
        received = client.whole(client.ask(emulate(text="from the wheel")))
        assert_complete(received)
        assert text_of(received) == "from the wheel"
        page = client.http.get("/")
        assert page.status_code == 200
        assert client.http.get("/static/page.js").status_code == 200
