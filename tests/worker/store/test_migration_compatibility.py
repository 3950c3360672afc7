"""Row 53: migrations only add, so that processes of the version before go on with the new schema."""

import ast
import itertools
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from millrace.worker.settings.schema import Settings
from millrace.worker.store import migration
from millrace.worker.store.database import engine_url, make_engine
from millrace.worker.store.migration import VERSION_TABLE, alembic_config

VERSIONS = Path(migration.__file__).parent / "migrations" / "versions"
FIRST = "0001"
ADDITIONS = {"add_column", "create_table", "create_index", "execute", "get_bind", "bulk_insert"}
REMOVALS = ("DROP ", "RENAME ", "ALTER COLUMN", "ALTER TABLE", "TRUNCATE")
Columns = dict[str, dict[str, Any]]


def test_upgrades_call_only_operations_that_add() -> None:
    found = 0
    for path in sorted(VERSIONS.glob("0*.py")):
        if path.stem.startswith(FIRST):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        (upgrade,) = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "upgrade"]
        called = {each.attr for each in ast.walk(upgrade) if isinstance(each, ast.Attribute) and _is_op(each)}
        assert called <= ADDITIONS, f"{path.name}: {called - ADDITIONS}"
        downgrade = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "downgrade"]
        rest = [each for each in tree.body if each not in downgrade]
        texts = [each.value for top in rest for each in ast.walk(top) if isinstance(each, ast.Constant)]
        for text in [each.upper() for each in texts if isinstance(each, str)]:
            assert not any(word in text for word in REMOVALS), f"{path.name}: {text}"
        found += 1
    assert found >= 4


def test_every_revision_keeps_the_columns_of_the_revisions_before_and_asks_their_code_for_no_new_one(
    empty: Settings,
) -> None:
    url = engine_url(empty.database.url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(exist_ok=True)
    engine = make_engine(url, 1, 30, schema=empty.database.schema, lock_seconds=30)
    try:
        schemas = _schemas(engine)
    finally:
        engine.dispose()
    assert len(schemas) >= 5
    for (old, before), (new, after) in itertools.pairwise(schemas):
        for table, columns in before.items():
            assert table in after, f"{new} removes {table} of {old}"
            for name, column in columns.items():
                assert name in after[table], f"{new} removes {table}.{name} of {old}"
                assert repr(after[table][name]["type"]) == repr(column["type"]), f"{new} changes {table}.{name}"
                assert after[table][name]["nullable"] == column["nullable"], f"{new} changes {table}.{name}"
            for name in after[table].keys() - columns.keys():
                added = after[table][name]
                assert added["nullable"] or added["default"] is not None, f"{table}.{name}: {old} does not fill it in"


def _schemas(engine: Engine) -> list[tuple[str, dict[str, Columns]]]:
    """Migrate revision by revision, and return the columns of all tables after each."""
    found: list[tuple[str, dict[str, Columns]]] = []
    with engine.begin() as connection:
        revisions = ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()
        for revision in reversed([each.revision for each in revisions]):
            command.upgrade(alembic_config(connection), revision)
            found.append((revision, _columns(connection)))
    return found


def _columns(connection: Connection) -> dict[str, Columns]:
    inspector = inspect(connection)
    return {
        table: {str(each["name"]): dict(each) for each in inspector.get_columns(table)}
        for table in inspector.get_table_names()
        if table != VERSION_TABLE
    }


def _is_op(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "op"
