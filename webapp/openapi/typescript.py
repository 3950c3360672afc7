"""The types of the events and of the API's bodies in TypeScript, generated from the structs that are encoded."""

import inspect
import json
from pathlib import Path
from typing import Any

from msgspec import UNSET
from msgspec import inspect as types

from millrace.webapp.schemas import (
    CancelReceipt,
    ConversationPage,
    GenerationView,
    MessagePage,
    ProblemBody,
    Receipt,
)
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import FeedEvent

_STATIC = Path(__file__).parent.parent / "static"
EVENTS_PATH = _STATIC / "events.d.ts"
API_PATH = _STATIC / "api.d.ts"
_GENERATED = "// Generated from the structs by `python -m millrace.webapp.openapi`.\n"
_EVENTS_HEAD = "// The events of a generation: the JSON of each `data:` line.\n" + _GENERATED
_API_HEAD = "// The bodies of the API's responses.\n" + _GENERATED
_BODIES = (Receipt, GenerationView, CancelReceipt, ConversationPage, MessagePage, ProblemBody)


def event_types() -> str:
    """Return the declarations of every event, and of the unions of a generation's and of a feed's events."""
    named: dict[str, types.StructType] = {}
    unions = [_union(name, each, named) for name, each in (("GenerationEvent", AnyEvent), ("FeedEvent", FeedEvent))]
    declared = [_interface(name, struct, named) for name, struct in _each_named(named)]
    return _EVENTS_HEAD + "\n" + "\n\n".join([*unions, *declared]) + "\n"


def api_types() -> str:
    """Return the declarations of the API's bodies, with the events' types that they contain imported."""
    events: dict[str, types.StructType] = {}
    for each in (AnyEvent, FeedEvent):
        _type_name(types.type_info(each), events)
    for name, struct in _each_named(events):
        _interface(name, struct, events)
    named: dict[str, types.StructType] = {}
    for body in _BODIES:
        _type_name(types.type_info(body), named)
    declared: list[str] = []
    for name, struct in _each_named(named):
        if name not in events:
            declared.append(_interface(name, struct, named))
    imported = ", ".join(sorted(name for name in named if name in events))
    return f'{_API_HEAD}\nimport type {{ {imported} }} from "./events.js";\n\n' + "\n\n".join(declared) + "\n"


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
        is_left_out = not each.required and (struct.cls.__struct_config__.omit_defaults or each.default is UNSET)
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
    """Write the declarations to the files that front ends import."""
    EVENTS_PATH.write_text(event_types(), "utf-8")
    API_PATH.write_text(api_types(), "utf-8")


__all__ = ["API_PATH", "EVENTS_PATH", "api_types", "event_types", "write"]
