"""The laws of the layout. Each law is one test that goes through all files and lists every offender."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.sources import ROOT, nodes, parse, tracked

TIERS = ("webapp", "worker")
ALL = sorted(
    path
    for top in ("webapp", "worker", "deploy", "tests", "wsgi.py")
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
)
OURS = [path for path in ALL if path.relative_to(ROOT).parts[0] in TIERS]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return f"millrace.{name}" if parts[0] in TIERS else name


MODULES = {module_of(path): path for path in ALL}


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Return the full name of everything that a file imports, `a.b.name` for `from a.b import name`."""
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    package = module_of(path).split(".")[: None if path.name == "__init__.py" else -1]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def target(name: str) -> str | None:
    """Return our module that an imported name lies in, or None where it is somebody else's."""
    while name:
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_top_level_is_fixed() -> None:
    top = {name.split("/")[0] for name in tracked()}
    allowed = {"wsgi.py", "pyproject.toml", "webapp", "worker", "tests", "deploy", "README.md"}
    assert {name for name in top if not name.startswith(".")} <= allowed


SHARED = ("contract", "store", "settings", "observability", "errors", "background_task")


def test_webapp_imports_only_the_shared_rooms_of_worker() -> None:
    allowed = tuple(f"millrace.worker.{room}." for room in SHARED)
    offenders = {
        named(path): wrong
        for path in OURS
        if path.relative_to(ROOT).parts[0] == "webapp"
        and (wrong := [n for n in imports_of(path) if n.startswith("millrace.worker.") and not n.startswith(allowed)])
    }
    assert not offenders


def test_worker_imports_neither_webapp_nor_flask() -> None:
    offenders = {
        named(path): wrong
        for path in OURS
        if path.relative_to(ROOT).parts[0] == "worker"
        and (wrong := [name for name in imports_of(path) if name.startswith(("millrace.webapp", "flask"))])
    }
    assert not offenders


def test_the_contract_imports_no_sdk_no_framework_and_no_other_room_but_settings_logs_and_errors() -> None:
    allowed = tuple(f"millrace.worker.{room}." for room in ("contract", "settings", "observability", "errors"))
    for path in sorted((ROOT / "worker" / "contract").rglob("*.py")):
        names = list(imports_of(path))
        assert not [name for name in names if name.split(".")[0] in ("boto3", "botocore", "flask", "gevent")], path
        ours = [name for name in names if name.split(".")[0] == "millrace"]
        assert all(name.startswith(allowed) for name in ours), (path, ours)


def test_each_module_of_the_tiers_is_imported_by_one_name_only() -> None:
    """`worker` and `webapp` lie at the top of the checkout, but are called `millrace.worker` and `millrace.webapp`."""
    bare = {named(path): [name for name in imports_of(path) if name.split(".")[0] in TIERS] for path in ALL}
    assert not {path: names for path, names in bare.items() if names}


VENDORS_WORDS = re.compile(
    r"claude|\bnova\b|\bgpt-|guardrail_intervened|model_context_window|finish_reason", re.IGNORECASE
)


def test_only_the_providers_know_a_model_or_a_stop_reason_by_its_name() -> None:
    offenders = [
        f"{named(path)}:{node.lineno}: {node.value}"
        for path in OURS
        if not path.is_relative_to(ROOT / "worker" / "providers")
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100
        if VENDORS_WORDS.search(node.value)
    ]
    assert not offenders


def test_importing_the_shared_room_pulls_in_no_boto3_and_no_task() -> None:
    names = [name for name in MODULES if name.startswith("millrace.worker.contract.")]
    code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"boto3", "botocore", "flask", "millrace.worker.app", "millrace.worker.tasks"}


def test_starting_a_worker_loads_no_flask() -> None:
    code = "import millrace.worker.app, millrace.worker.tasks, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & {"flask", "werkzeug", "millrace.webapp"}


CROWDED = 20


def test_room_with_many_modules_lists_each_of_them_in_its_docstring() -> None:
    """So that a reader who opens the room finds an order in it, and where to begin."""
    absent: dict[str, list[str]] = {}
    for package in sorted({path.parent for path in ALL if not path.is_relative_to(ROOT / "tests")}):
        modules = [each.stem for each in sorted(package.glob("[a-z]*.py")) if each.stem.isidentifier()]
        if len(modules) >= CROWDED:
            listed = ast.get_docstring(parse(package / "__init__.py")) or ""
            absent[named(package)] = [each for each in modules if not re.search(rf"\b{each}\b", listed)]
    assert absent, "some room has so many"
    assert not {room: names for room, names in absent.items() if names}


def test_no_import_stands_inside_a_function() -> None:
    for path in ALL:
        functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inner = [
            node.lineno
            for each in functions
            for node in ast.walk(each)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not inner, f"{named(path)}: lines {inner}"


def test_there_are_no_import_cycles() -> None:
    graph = {
        name: {found for each in imports_of(path) if (found := target(each))} - {name} for name, path in MODULES.items()
    }
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                walk(other, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_only_settings_files_read_the_environment() -> None:
    for path in OURS:
        if path.relative_to(ROOT).as_posix() == "worker/settings/schema.py":
            continue
        touched = [
            node.lineno
            for node in nodes(path)
            if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ]
        assert not touched, f"{named(path)}: lines {touched}"


def test_only_keys_spells_a_redis_key() -> None:
    for path in OURS:
        if path.name == "keys.py":
            continue
        spelled = [
            node.value
            for node in nodes(path)
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
            if (node.value.startswith("mr:") if isinstance(node.value, str) else node.value.startswith(b"mr:"))
        ]
        assert not spelled, f"{named(path)}: {spelled}"


def test_scripts_spell_no_key_either() -> None:
    for path in sorted((ROOT / "worker" / "contract" / "lua").glob("*.lua")):
        assert "mr:" not in path.read_text("ascii")


def test_files_and_functions_fit() -> None:
    for path in ALL:
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) <= 400, f"{named(path)} has {len(lines)} lines"
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= 50, f"{named(path)}: {node.name} has {length} lines"


def test_no_name_says_nothing() -> None:
    for path in [path for path in ALL if path != Path(__file__)]:
        vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "core"}
        parts = path.relative_to(ROOT).with_suffix("").parts
        assert not vague & set(parts)


TESTED_ELSEWHERE = {
    "breaker_report": "providers/test_router.py, with a real breaker",
    "question": "providers/test_router.py",
    "content": "aisdk/test_dialect_sdk.py",
    "parts": "aisdk/test_dialect_sdk.py: the SDK's own schema reads each of them",
    "declaration": "settings/test_groups.py reads every declared setting",
    "0001_first": "store/test_migration.py migrates with it",
    "0002_search_terms": "store/test_migration.py migrates memories with it",
    "0003_images": "store/test_migration.py migrates answers with it",
    "0004_edits": "store/test_migration.py migrates answers with it",
    "0005_search": "store/test_migration.py and store/test_conversation_search.py search with it",
    "0006_retention": "store/test_retention.py finds expired data with it",
    "brave": "search/test_engine.py runs one contract over all engines",
    "env": "store/test_migration.py",
    "errors": "a tree of exceptions; each is tested where it is raised",
    "gunicorn.conf": "imports webapp/gunicorn_config.py",
    "metrics": "routes/test_metrics.py reads what it registers",
    "migrate": "an entry file; deploy/test_migration.py runs it",
    "mounts": "test_extension.py and test_mounting.py mount several times",
    "node_relay": "relay/test_hub.py and relay/test_repair.py follow logs through it",
    "node_tasks": "test_process.py and upkeep/ run what it holds",
    "objects": "facades/openai/responses/test_dialect.py validates each with the official SDK's types",
    "profile": "routes/test_profile.py and context/test_profile.py",
    "responses": "routes/test_generations.py and generation/test_views.py",
    "searxng": "search/test_engine.py runs one contract over all engines",
    "services": "built by every test of the web tier",
    "source": "the protocol of sources; context/test_sources_gathering.py",
    "owned_keys": "owner_data/test_command.py lists and revokes with it",
    "state_keys": "deploy/test_data_command.py lists and revokes with it",
    "stores": "owner_data/test_erasure.py and owner_data/test_retention.py delete with them",
    "holdings": "owner_data/test_erasure.py counts with it",
    "stub": "providers/test_protocol.py runs one contract over stub and Bedrock",
    "stream_events": "facades/openai/responses/test_dialect.py validates each with the official SDK's types",
    "tables": "store/test_migration.py compares them with the migrations",
    "withdrawal": "generation/test_creation.py fails creates at each step",
    "test": "an entry file; deploy/test_check_command.py runs it",
}
"""Modules without a test file of their own, each with its reason."""
MIRRORED = {"webapp": "webapp", "worker": "worker", "deploy": "deploy", "deploy/emulator": "emulator"}


def mirror_of(path: Path) -> Path:
    """Return the folder of the tests of a source file."""
    folder = path.relative_to(ROOT).parent
    for source in sorted(MIRRORED, key=len, reverse=True):
        if folder.is_relative_to(source):
            return ROOT / "tests" / MIRRORED[source] / folder.relative_to(source)
    raise AssertionError(path)


def test_each_module_has_its_tests_at_the_same_path_and_each_test_file_its_module() -> None:
    """`a/b/c.py` is tested by `tests/a/b/test_c.py`, or by several files `test_c_<aspect>.py`."""
    names: dict[Path, set[str]] = {}
    for path in ALL:
        if path.relative_to(ROOT).parts[0] in ("webapp", "worker", "deploy"):
            names.setdefault(mirror_of(path), set()).add(path.stem.strip("_"))
    untested = [
        f"{folder.relative_to(ROOT)}/test_{name}.py"
        for folder, modules in names.items()
        for name in modules
        if name not in ("init", "main", *TESTED_ELSEWHERE)
        if not list(folder.glob(f"test_{name}.py")) and not list(folder.glob(f"test_{name}_*.py"))
    ]
    without_module = [
        named(path)
        for tier in ("webapp", "worker", "deploy", "emulator")
        for path in (ROOT / "tests" / tier).rglob("test_*.py")
        if not any(f"{path.stem}_".startswith(f"test_{name}_") for name in names.get(path.parent, ()))
    ]
    assert (sorted(untested), sorted(without_module)) == ([], [])


def test_no_class_name_has_two_meanings() -> None:
    places: dict[str, list[str]] = {}
    for path in ALL:
        if path.relative_to(ROOT).parts[0] in ("webapp", "worker", "deploy"):
            for node in nodes(path):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(named(path))
    assert not {name: files for name, files in places.items() if len(files) > 1}
