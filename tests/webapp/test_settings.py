import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from millrace.webapp import create_app
from millrace.webapp.settings import EXIT_CODE, SERVER_COMMAND, check
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings
from tests.forks import outputs_of

ROOT = Path(__file__).parent.parent.parent
GUNICORN = ("-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "--bind", "127.0.0.1:0", "wsgi:application")

KEY = "k" * 32


def start(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    run = [sys.executable, *command]
    return subprocess.run(run, cwd=ROOT, env=clean | settings, capture_output=True, text=True, timeout=30, check=False)


def outputs(command: Sequence[str], *settings: dict[str, str]) -> list[tuple[int, str]]:
    """Return the exit code and the output of the command with each of the settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return outputs_of(command, *(clean | each for each in settings))


# Reads a list of settings and runs the WSGI entry point with each; imports, which take a second, are made once.
WSGI_WITH_EACH = """
import contextlib, io, json, os, runpy, sys
for settings in json.loads(sys.argv[1]):
    os.environ.update(settings)
    with contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            runpy.run_path("wsgi.py", run_name="wsgi")
            code = 0
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, error.getvalue()]))
    for name in settings:
        del os.environ[name]
"""

WRONG: list[tuple[dict[str, str], str]] = [
    ({}, "MILLRACE_SECRET_KEY"),
    ({"MILLRACE_SECRET_KEY": "k" * 31}, "MILLRACE_SECRET_KEY"),
    ({"MILLRACE_SECRET_KEY": KEY, "MILLRACE_MAX_READERS": "many"}, "MILLRACE_MAX_READERS"),
    ({"MILLRACE_SECRET_KEY": KEY, "MILLRACE_COOKIE_SAMESITE": "Lax"}, "MILLRACE_COOKIE_SAMESITE"),
    ({"MILLRACE_SECRET_KEY": KEY, "MILLRACE_SURPRISE": "1"}, "MILLRACE_SURPRISE"),
]


def test_wrong_setting_stops_the_start_with_one_line_about_it() -> None:
    ended = start("-c", WSGI_WITH_EACH, json.dumps([settings for settings, _ in WRONG]))
    results: list[tuple[int, str]] = [tuple(json.loads(line)) for line in ended.stdout.splitlines()]
    assert len(results) == len(WRONG), ended.stderr
    for (settings, name), (code, error) in zip(WRONG, results, strict=True):
        assert code == EXIT_CODE, settings
        assert error.count("\n") == 1, settings
        assert error.startswith(f"millrace: {name}: ")


def test_wrong_setting_stops_gunicorn_with_one_line_about_it() -> None:
    wrong = [WRONG[0], WRONG[-1]]
    ended = outputs(GUNICORN[1:], *(settings for settings, _ in wrong))
    for (settings, name), (code, output) in zip(wrong, ended, strict=True):
        assert code == 2, settings
        assert output.count("\n") == 1, output
        assert output.startswith(f"millrace: {name}: ")


def test_app_is_created_without_any_server_running() -> None:
    settings = {"MILLRACE_SECRET_KEY": KEY, "MILLRACE_REDIS_URL": "redis://127.0.0.1:1/0"}
    assert outputs(("wsgi",), settings) == [(0, "")]


def test_gunicorn_that_can_not_start_the_app_ends_with_one_line_about_it(tmp_path: Path) -> None:
    """A blocking worker class gets the right command; a bad setting is named, whichever way gunicorn was started."""
    (tmp_path / "host.py").write_text(
        "from flask import Flask; from millrace import mount; app = Flask('host'); mount(app, owner=lambda _: 'u')"
    )
    blocking, factory = f"streams need gevent workers. Start it with: {SERVER_COMMAND} ", "millrace.webapp:create_app()"
    shipped = ("-c", "python:millrace.webapp.gunicorn_config")
    expected: dict[tuple[str, ...], str] = {
        ("wsgi:application",): f"{blocking}wsgi:application",
        ("--preload", "--threads", "2", "host:app"): f"{blocking}host:app",
        (factory,): f"{blocking}'{factory}'",
    }
    in_gevent: dict[tuple[str, ...], str] = {
        (*shipped, "--worker-class", "sync", "wsgi:application"): "streams need the worker class of ",
        (*shipped, factory): "MILLRACE_SECRET_KEY: ",
        ("--worker-class", "gevent", "wsgi:application"): "MILLRACE_SECRET_KEY: ",
    }
    options = ["--bind", "127.0.0.1:0", "--no-control-socket"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    path = os.pathsep.join(map(str, (ROOT, ROOT / ".package")))
    runs = {
        flags: subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, *flags],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for flags in expected
    }
    ended = {flags: (run.communicate(timeout=120)[0], run.returncode) for flags, run in runs.items()}
    for flags in in_gevent:
        ((code, output),) = outputs(("gunicorn", *options, *flags), {})
        ended[flags] = (output, code)
    for flags, (output, code) in ended.items():
        assert code == EXIT_CODE, flags
        (line,) = [line for line in output.splitlines() if line.startswith("millrace: ")]
        assert line.startswith(f"millrace: {(expected | in_gevent)[flags]}")
        assert "Traceback" not in output


def test_settings_without_a_secret_key_are_rejected() -> None:
    with pytest.raises(SettingError, match="MILLRACE_SECRET_KEY"):
        create_app(Settings())
    assert check(Settings.of(secret_key=KEY)).auth.secret_key == KEY
