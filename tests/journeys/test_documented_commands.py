"""The curl commands of the documentation, as pasted, against a running system."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.system import System

BASE = "base=http://127.0.0.1:8000"
PAGES = ("webapp/docs/http-api.md", "webapp/docs/facades.md")


def commands(page: str) -> list[Block]:
    return [block for block in blocks("sh") if block.page == ROOT / page and "$base" in block.code]


@pytest.mark.parametrize("page", PAGES)
def test_curl_commands_of_the_docs_run_as_pasted(system: System, page: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl to test with")
    found = commands(page)
    assert found
    assert BASE in found[0].code
    script = "\n".join(block.code for block in found).replace(BASE, f"base={system.url}")
    script = script.replace("curl -s", "curl --fail-with-body -s")
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    assert run.stdout.count('"type":"done"') + run.stdout.count("[DONE]") >= 1
    assert '"code"' not in run.stdout
    if "/cancel" in script:
        assert '"type":"cancelled"' in run.stdout
        assert '"status": "cancelled"' in run.stdout
