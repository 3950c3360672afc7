"""The commands of the documentation, as pasted, against a running system."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, commands_of, run_by
from tests.system import System

BASE = "base=http://127.0.0.1:8000"
PAGES = (
    "webapp/docs/http-api.md",
    "webapp/docs/facades.md",
    "webapp/docs/authentication.md",
    "webapp/docs/use-from-curl.md",
)


def commands(page: str) -> list[Block]:
    found = run_by("test_curl_commands_of_the_docs_run_as_pasted")
    assert {block.page for block in found} == {ROOT / name for name in PAGES}
    return [block for block in found if block.page == ROOT / page]


@pytest.mark.parametrize("page", PAGES)
def test_curl_commands_of_the_docs_run_as_pasted(system: System, page: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl to test with")
    found = commands(page)
    assert found
    assert BASE in found[0].code
    script = "\n".join(block.code for block in found).replace(BASE, f"base={system.url}")
    script = script.replace("curl -s", "curl --fail-with-body -s")
    keys = re.compile(r"python3 deploy/keys\.py (\w+)")
    script = keys.sub(rf"{sys.executable} {ROOT}/deploy/keys.py \1 --state {system.state}", script)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    assert run.stdout.count('"type":"done"') + run.stdout.count("[DONE]") >= 1
    assert '"code"' not in run.stdout
    if "/cancel" in script:
        assert '"type":"cancelled"' in run.stdout
        assert '"status": "cancelled"' in run.stdout


def test_start_commands_of_the_docs_run_as_pasted(system: System, tmp_path: Path) -> None:
    """Each with a state directory and a free port of the test; a command that serves is stopped once it is ready."""
    environment = {
        **os.environ,
        "MILLRACE_BEDROCK_ENDPOINT_URL": system.emulator_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    found = run_by("test_start_commands_of_the_docs_run_as_pasted")
    for command in dict.fromkeys(command for block in found for command in commands_of(block)):
        is_served = any(each in command for each in ("--ask", "--check", "logs"))  # by the system that runs
        line = command.replace(".millrace/logs", f"{system.state}/logs").replace("python", sys.executable)
        line = line.replace(f"{sys.executable}3", sys.executable)
        if "run.py" in command:
            line += f" --state {system.state}" if is_served else f" --port 0 --state {tmp_path / 'state'}"
        run = ["timeout", "--signal=TERM", "60", "bash", "-c", f"set -o pipefail; {line}"]
        with subprocess.Popen(run, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            if is_served:
                output = process.stdout.read()
                assert process.wait(60) == 0, command
                assert output.strip(), command
                continue
            lines = iter(process.stdout.readline, "")
            assert any(each.startswith(("Millrace is ready: ", "emulator listening on ")) for each in lines), command
            process.terminate()
            process.stdout.read()
