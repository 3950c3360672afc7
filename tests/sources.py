"""The sources of the project for the tests that read them: each file is read and parsed once."""

import ast
import gc
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_KEPT = (ast.Import, ast.ImportFrom, ast.Constant, ast.Attribute, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    has_collections = gc.isenabled()
    gc.disable()  # a tree holds no garbage: its collections would take twice the time of the parser
    try:
        return ast.parse(path.read_text("utf-8"), str(path))
    finally:
        if has_collections:
            gc.enable()


@cache
def nodes(path: Path) -> Sequence[ast.AST]:
    """Return the imports, constants, attributes, functions and classes of a file, at any depth."""
    return [node for node in ast.walk(parse(path)) if isinstance(node, _KEPT)]


@cache
def tracked() -> Sequence[str]:
    """Return the names of all files that Git tracks."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return listed.splitlines()
