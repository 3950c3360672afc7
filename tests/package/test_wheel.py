"""The wheel: built from the tracked files, installed into an empty environment, and streaming an answer from there.

The commands are those of the documentation, as pasted, in an installed package and in a checkout.
"""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.environment import base_python
from millrace import __version__
from tests.client import Client, assert_complete, emulate, parse_frames, text_of, wait_for
from tests.docs.pages import Block, blocks, commands_of, run_by
from tests.emulator_process import EmulatorProcess
from tests.package.containers import Container, obstacle
from tests.package.dockerfile import Stage
from tests.valkey import ValkeyProcess, free_port

ROOT = Path(__file__).parents[2]
DATA = (".lua", ".html", ".js", ".css", ".svg", ".d.ts", "py.typed")
pytestmark = pytest.mark.timeout(900)  # the first test of all builds the image
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


@dataclass(frozen=True)
class Programs:
    """A directory of programs, in this machine's file system or in that of an image."""

    directory: Path
    image: Stage | None = None

    def start(self, line: str, cwd: Path, own: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a line of the shell; `own` is the directory that it may write to."""
        command = ["bash", "-c", f"exec {line}"]
        if self.image is None:
            with log.open("wb") as output:
                return subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=output)
        binds = {str(each): each for each in (cwd, own)}
        return Container(self.image.root, "0:0", str(cwd), None, environment, binds).start(command, log)


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """An environment that holds the package and its pinned dependencies: that of the image, if there is one."""
    if not obstacle():
        image: Stage = request.getfixturevalue("image")
        return Programs(Path("/opt/millrace/bin"), image)
    wheel: Path = request.getfixturevalue("wheel")
    directory = tmp_path_factory.mktemp("installed")
    python = directory / "bin" / "python"
    subprocess.run([base_python(), "-m", "venv", "--without-pip", str(directory)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    pip.append("--no-compile")  # most modules are never imported here
    pinned = ROOT / "deploy" / "constraints" / "run.txt"
    subprocess.run([*pip, "--require-hashes", "-r", str(pinned)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return Programs(python.parent)


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
    assert {f"millrace/webapp/assets/{name}.json" for name in ("package", "package-lock", "files")} <= held
    assert "millrace-assets" in commands
    assert "millrace-worker" in commands
    assert "millrace-migrate" in commands


LOGIN = """

@app.get("/login")
def login():
    session["user_id"] = "u1"
    return "welcome"
"""


@contextmanager
def running(block: Block, programs: Programs, directory: Path, checkout: Path | None = None) -> Generator[str]:
    """Run a block's commands as pasted, beside foreign packages, and yield the address of the API.

    Only the addresses of Redis, of the database and of the server are the test's own. Without a `checkout` the commands
    run in a directory of their own, with the README's app in it.
    """
    directory.mkdir()
    for name in ("worker", "webapp"):
        (directory / name).mkdir()
        (directory / name / "__init__.py").write_text(FOREIGN)
    (app,) = [each for each in blocks("python") if each.page == ROOT / "README.md"]
    (directory / "yourapp.py").write_text(app.code + LOGIN)
    port = free_port()
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyProcess(directory))
        emulator = stack.enter_context(EmulatorProcess())
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_", "PY"))}
        environment = {
            **clean,
            "PATH": f"{programs.directory}{os.pathsep}{os.environ['PATH']}",
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key",
            "MILLRACE_REDIS_URL": valkey.url,
            "MILLRACE_DATABASE_URL": f"sqlite:///{directory}/millrace.db",
            "MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url,
        }
        for number, command in enumerate(commands_of(block)):
            line = command.replace("0.0.0.0:8000", f"127.0.0.1:{port}").replace(".venv/bin", str(programs.directory))
            log = directory / f"{number}.log"
            process = programs.start(line, checkout or directory, directory, environment, log)
            if "migrate" in command:
                assert process.wait(60) == 0, log.read_text()
            else:
                stack.callback(_end, process)
        address = f"http://127.0.0.1:{port}" + ("/chat" if "yourapp" in block.code else "")
        if "gunicorn" in block.code:
            wait_for(lambda: _is_ready(address, directory), 60, "the system to be ready")
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
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_commands_of_an_installed_package_run_as_pasted(installed: Programs, tmp_path: Path) -> None:
    """Beside foreign packages called worker and webapp; blocks with the same commands are run once."""
    found = {
        tuple(commands_of(block)): block for block in run_by("test_commands_of_an_installed_package_run_as_pasted")
    }
    assert len(found) >= 3
    for number, block in enumerate(found.values()):
        has_checkout = "deploy/" in block.code
        with running(block, installed, tmp_path / str(number), ROOT if has_checkout else None) as url:
            if "gunicorn" in block.code:
                assert_streams(url)


def test_commands_of_a_checkout_run_as_pasted(tmp_path: Path) -> None:
    for number, block in enumerate(run_by("test_commands_of_a_checkout_run_as_pasted")):
        with running(block, Programs(Path(sys.executable).parent), tmp_path / str(number), ROOT) as url:
            assert_streams(url)


def assert_streams(url: str) -> None:
    with Client(url) as client:
        if url.endswith("/chat"):
            login = f"{url.removesuffix('/chat')}/login"
            client.http.cookies.update(httpx.get(login, timeout=30, trust_env=False).cookies)
        generation = client.ask(emulate(text="as pasted"))
        with client.http.stream("GET", f"/api/generations/{generation}/events") as answer:
            received = list(parse_frames(answer.iter_lines()))
        assert_complete(received)
        assert text_of(received) == "as pasted"
        assert client.http.get("/").status_code == 200
        assert client.http.get("/static/page.js").status_code == 200
