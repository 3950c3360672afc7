"""The events' types in TypeScript, generated from the structs that are encoded."""

import inspect
import json
from pathlib import Path
from typing import Any

from msgspec import inspect as types

from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import FeedEvent

PATH = Path(__file__).parent.parent / "static" / "events.d.ts"
_HEAD = """\
// The events of a generation: the JSON of each `data:` line.
// Generated from the structs by `python -m millrace.webapp.openapi`.
"""


def event_types() -> str:
    """Return the declarations of every event, and of the unions of a generation's and of a feed's events."""
    named: dict[str, types.StructType] = {}
    unions = [_union(name, each, named) for name, each in (("GenerationEvent", AnyEvent), ("FeedEvent", FeedEvent))]
    declared = [_interface(name, struct, named) for name, struct in _each_named(named)]
    return _HEAD + "\n" + "\n\n".join([*unions, *declared]) + "\n"


def _union(name: str, given: Any, named: dict[str, types.StructType]) -> str:
    members = "\n  | ".join(_type_name(types.type_info(given), named).split(" | "))
    return f"export type {name} =\n  | {members};"


def _each_named(named: dict[str, types.StructType]) -> Any:
    """Yield the structs in the order in which they are found; declaring one may add others to `named`."""
    done: set[str] = set()
    while left := [name for name in named if name not in done]:
        done.add(left[0])
        yield left[0], named[left[0]]


def _interface(name: str, struct: types.StructType, named: dict[str, types.StructType]) -> str:
    doc = (inspect.getdoc(struct.cls) or "").partition("\n")[0]
    lines = [f"/** {doc} */", f"export interface {name} {{"]
    if struct.tag_field is not None:
        lines.append(f"  {struct.tag_field}: {json.dumps(struct.tag)};")
    for each in struct.fields:
        given = each.type
        is_left_out = not each.required and bool(struct.cls.__struct_config__.omit_defaults)
        if is_left_out and each.default is None and isinstance(given, types.UnionType):
            given = types.UnionType(tuple(one for one in given.types if not isinstance(one, types.NoneType)))
        lines.append(f"  {each.encode_name}{'?' if is_left_out else ''}: {_type_name(given, named)};")
    return "\n".join([*lines, "}"])


_SIMPLE: dict[type[types.Type], str] = {
    types.AnyType: "unknown",
    types.NoneType: "null",
    types.BoolType: "boolean",
    types.IntType: "number",
    types.FloatType: "number",
    types.StrType: "string",
}


def _type_name(given: types.Type, named: dict[str, types.StructType]) -> str:
    match given:
        case types.StructType():
            name = given.cls.__name__
            named.setdefault(name, given)
            return name
        case types.UnionType():
            return " | ".join(_type_name(each, named) for each in given.types)
        case types.LiteralType():
            return " | ".join(json.dumps(value) for value in given.values)
        case types.ListType():
            item = _type_name(given.item_type, named)
            return f"({item})[]" if " | " in item else f"{item}[]"
        case types.DictType():
            return f"Record<string, {_type_name(given.value_type, named)}>"
        case _:
            return _SIMPLE[type(given)]


def write() -> None:
    """Write the declarations to the file that front ends import."""
    PATH.write_text(event_types(), "utf-8")


__all__ = ["PATH", "event_types", "write"]
