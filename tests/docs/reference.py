"""The tables of the documentation that are generated from the code: `python -m tests.docs.reference --write`.

A page marks the place of a table with `<!-- begin: NAME -->` and `<!-- end: NAME -->`. Without `--write` the command
prints what the code has, as JSON: each table's text and the names in it. It runs in a process of its own, because it
imports both tiers.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from millrace.webapp import create_app
from millrace.webapp.openapi.typescript import event_types
from millrace.worker.contract import keys
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import FeedEvent
from millrace.worker.errors import MESSAGES
from millrace.worker.settings.schema import Settings, declared, variables

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("webapp/docs", "worker/docs", "deploy/docs")
_PLACE = re.compile(r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_UNREADABLE = "\x01"
_VARIES = "…"
_DEPENDENCIES = ("RedisKeyInvalid", "RedisUnavailable", "QueueUnavailable", "DatabaseUnavailable")
_A_STATUS = 405  # by which the table of the codes of HTTP's own errors is known


class Table(NamedTuple):
    """A generated table: its text in Markdown, and the names that it has, in order."""

    text: str
    names: list[str]


def tables() -> dict[str, Table]:
    """Return every table by the name that its place in a page has."""
    return {
        "settings": _settings(),
        "routes": _routes(),
        "problems": _problems(),
        "events": _events(),
        "error-codes": _error_codes(),
        "redis-keys": _redis_keys(),
        "metrics": _metrics(),
    }


def write(folder: Path, made: dict[str, Table]) -> list[Path]:
    """Put the tables into the pages of a folder, and return those that have changed."""
    changed: list[Path] = []
    for page in sorted(folder.glob("*.md")):
        old = page.read_text("utf-8")
        new = filled(old, made)
        if new != old:
            page.write_text(new, "utf-8")
            changed.append(page)
    return changed


def filled(page: str, made: dict[str, Table]) -> str:
    """Return a page's text with each table in its place."""
    return _PLACE.sub(lambda found: f"{found[1]}{made[found[2]].text}{found[3]}", page)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], names: list[str]) -> Table:
    lines = [head, ("---",) * len(head), *rows]
    return Table("".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---"), names)


def _settings() -> Table:
    """Return a table for each group, below the group's name and its line of documentation."""
    parts: list[str] = []
    groups = {group.name: str(inspect.getdoc(group.default_factory)) for group in fields(Settings)}
    for group, doc in groups.items():
        rows: list[tuple[str, ...]] = []
        for _, each in (pair for pair in declared() if pair[0] == group):
            names = ", then ".join(f"`{name}`" for name in each.metadata["names"])
            accepts, default = _accepts(each.metadata["parse"]), _default(each.default)
            rows.append((names, accepts, default, each.metadata["doc"]))
        table = _table(("variable", "accepts", "default", "meaning"), rows, [])
        parts.append(f"### {group.capitalize()}\n\n{doc}\n\n{table.text}")
    return Table("\n".join(parts), list(variables()))


def _accepts(parse: Any) -> str:
    """Return what a parser says that it takes, in its own words."""
    try:
        parse(_UNREADABLE)
    except ValueError as error:
        return str(error).removeprefix("takes ").partition(_UNREADABLE)[0].rstrip("; ")
    return "text"


def _default(value: Any) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case "" | ():
            return "–"
        case _:
            return f"`{value}`"


def _routes() -> Table:
    app = create_app(Settings.of(secret_key="of the documentation" * 2))
    rows: list[tuple[str, ...]] = []
    names: list[str] = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint.endswith(".static") or rule.websocket:  # the same view answers without the handshake's headers
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: found[1].upper(), rule.rule)
        methods = [method for method in _METHODS if method in (rule.methods or ())]
        summary = (inspect.getdoc(app.view_functions[rule.endpoint]) or "").partition("\n\n")[0].replace("\n", " ")
        names += [f"{method} {path}" for method in methods]
        rows.append((", ".join(f"`{method} {path}`" for method in methods), summary))
    return _table(("request", "answer"), rows, names)


def _events() -> Table:
    declared = dict(re.findall(r"export interface (\w+) \{\n(.*?)\}", event_types(), re.DOTALL))
    rows: list[tuple[str, ...]] = []
    names: list[str] = []
    for event in (*get_args(AnyEvent), *get_args(FeedEvent)):
        kind = str(event.__struct_config__.tag)
        lines = [line.strip().rstrip(";").partition(": ") for line in declared[event.__name__].splitlines()]
        members = [f"`{name}: {given}`".replace("|", "\\|") for name, _, given in lines if name.rstrip("?") != "type"]
        doc = (inspect.getdoc(event) or "").replace("\n\n", " ").replace("\n", " ")
        names.append(kind)
        rows.append((f"`{kind}`", ", ".join(members) or "–", doc))
    return _table(("type", "fields", "meaning"), rows, names)


def _error_codes() -> Table:
    rows: list[tuple[str, ...]] = [(f"`{code}`", MESSAGES[code]) for code in sorted(MESSAGES)]
    return _table(("code", "message"), rows, sorted(MESSAGES))


def _problems() -> Table:
    found: dict[tuple[int, str], dict[str, None]] = {}
    generic = set[tuple[int, str]]()
    for tree in _trees("webapp"):
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef):
                for call in _calls_in(scope, "Problem"):
                    match call.args:
                        case [ast.Constant(value=int(status)), ast.Constant(value=str(code)), detail, *_]:
                            found.setdefault((status, code), {})[_text(detail, scope)] = None
                        case _:
                            pass
            elif isinstance(scope, ast.Dict) and any(getattr(key, "value", "") == _A_STATUS for key in scope.keys):
                generic.update(ast.literal_eval(scope).items())
            elif isinstance(scope, ast.Tuple):
                match scope.elts:
                    case [ast.Name(id=error), _, ast.Constant(value=str(code)), detail] if error in _DEPENDENCIES:
                        found.setdefault((503, code), {})[_text(detail, scope)] = None
                    case _:
                        pass
    for pair in generic - found.keys():
        found[pair] = {"as Werkzeug describes it": None}
    rows = [
        (str(status), f"`{code}`", "<br>".join([each for each in details if each != _VARIES] or details))
        for (status, code), details in sorted(found.items())
    ]
    return _table(("status", "code", "detail, `…` where it varies"), rows, [code for _, code in sorted(found)])


def _text(node: ast.expr, scope: ast.AST) -> str:
    """Return a literal text, also where it is the value of a variable of the function."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(part.value if isinstance(part, ast.Constant) else _VARIES for part in values)  # pyright: ignore
        case ast.Name(id=name):
            for each in ast.walk(scope):
                if isinstance(each, ast.Assign) and [getattr(to, "id", None) for to in each.targets] == [name]:
                    return _text(each.value, scope)
        case _:
            pass
    return _VARIES


def _redis_keys() -> Table:
    lines = [line for line in (keys.__doc__ or "").splitlines() if line.startswith("|")]
    names = [name for line in lines[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    return Table("".join(f"{line}\n" for line in lines), names)


def _metrics() -> Table:
    found: dict[str, tuple[str, str, str]] = {}
    kinds = {
        "Counter": "counter",
        "CounterMetricFamily": "counter",
        "Gauge": "gauge",
        "GaugeMetricFamily": "gauge",
        "Histogram": "histogram",
    }
    for call in (call for name in kinds for call in _calls(name)):
        match call.args:
            case [ast.Constant(value=str(name)), ast.Constant(value=str(doc)), *rest] if name.startswith("millrace_"):
                labels = [each for each in (*rest, *(key.value for key in call.keywords)) if isinstance(each, ast.List)]
                shown = ", ".join(str(ast.literal_eval(each)) for label in labels for each in label.elts)
                kind = kinds[_name_of(call)]
                found[f"{name}_total" if kind == "counter" else name] = (kind, shown, doc)
            case _:
                pass
    for tree in _trees("webapp", "worker"):
        for each in ast.walk(tree):
            match each:
                case ast.Assign(
                    targets=[ast.Subscript(slice=ast.Constant(value=str(name)))],
                    value=ast.Tuple(elts=[ast.Constant(value=str(doc)), _]),
                ) if name.startswith("millrace_"):
                    found[name] = ("gauge", "", doc)
                case _:
                    pass
    rows = [(f"`{name}`", kind, labels or "–", doc) for name, (kind, labels, doc) in sorted(found.items())]
    return _table(("metric", "type", "labels", "meaning"), rows, sorted(found))


def _trees(*tiers: str) -> Iterator[ast.Module]:
    for tier in tiers:
        for path in sorted((ROOT / tier).rglob("*.py")):
            yield ast.parse(path.read_text("utf-8"))


def _calls(name: str) -> Iterator[ast.Call]:
    for tree in _trees("webapp", "worker"):
        yield from _calls_in(tree, name)


def _calls_in(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    yield from (each for each in ast.walk(tree) if isinstance(each, ast.Call) and _name_of(each) == name)


def _name_of(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def main() -> None:
    """Write the pages, or print the tables."""
    made = tables()
    if sys.argv[1:] == ["--write"]:
        for folder in FOLDERS:
            for page in write(ROOT / folder, made):
                print(page.relative_to(ROOT))
    else:
        print(msgspec.json.encode({name: table._asdict() for name, table in made.items()}).decode())


if __name__ == "__main__":
    main()
