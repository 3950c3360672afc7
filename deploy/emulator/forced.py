"""Make up the input of a tool that the caller forces, by its schema and out of the user's own words. Pure."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from deploy.emulator.directive import Directive, is_directive, parse_directive
from deploy.emulator.request import Forced

Json = dict[str, Any]

_WORDS = 8  # of the user's, for a string
_CHARS = 60
_SCRIPTED = "a scripted answer"  # in place of words that are a directive
_ASIDE = ("More about {}?", "Why is that so: {}?", "An example of {}?", "What comes after {}?")
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_FIRST_PERSON = re.compile(r"\b(I|I'm|my|we|our)\b", re.IGNORECASE)


def script_for(forced: Forced, messages: list[Json]) -> Directive | None:
    """Return what the latest directive in the user's messages says of the tool that is forced, None where nothing.

    Raises ServiceError for a directive that is wrong.
    """
    for text in reversed(_texts(messages, "user")):
        if is_directive(text):
            return parse_directive(text).forced.get(forced.name)
    return None


def input_for(schema: Json, messages: list[Json]) -> Any:
    """Return an input that fits the schema, as far as types, enums, bounds and lengths go.

    It is made of the user's message before the last answer, else of the last one: where a caller lets a small model
    look back at a turn, its own instructions come after the answer.
    """
    return _value(schema, _subject(messages))


def _subject(messages: list[Json]) -> str:
    last = max((at for at, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages))
    text = (_texts(messages[:last], "user") or [""])[-1]
    return _SCRIPTED if is_directive(text) else text


def _texts(messages: list[Json], role: str) -> list[str]:
    blocks = [block for message in messages if message["role"] == role for block in message["content"]]
    return [block["text"] for block in blocks if "text" in block]


def _value(schema: Json, subject: str) -> Any:
    if "enum" in schema:
        return next(_named(schema, subject), schema["enum"][0])
    if "pattern" in schema and (found := re.search(schema["pattern"], subject)):
        return found[0]
    kind = schema.get("type")
    make = _MAKERS.get(kind[0] if isinstance(kind, list) else kind)
    return make(schema, subject) if make else schema.get("const")


def _object(schema: Json, subject: str) -> Json:
    """Return its properties, but for those that it need not have and that the words say nothing of."""
    properties = cast(Json, schema.get("properties", {}))
    required = schema.get("required", [])
    return {
        name: _value(each, subject)
        for name, each in properties.items()
        if name in required or not _is_unsaid(each, subject)
    }


def _is_unsaid(schema: Json, subject: str) -> bool:
    """Tell whether it is looked for in the words and not there: one of an enum, a pattern, a number."""
    if "enum" in schema:
        return next(_named(schema, subject), None) is None
    if "pattern" in schema:
        return re.search(schema["pattern"], subject) is None
    return schema.get("type") in ("integer", "number") and _number_in(subject) is None


def _named(schema: Json, subject: str) -> Iterator[str]:
    return (each for each in schema["enum"] if isinstance(each, str) and each.lower() in subject.lower())


def _list(schema: Json, subject: str) -> list[Any]:
    """Return what the user has said, not asked, of himself; where the list must not be empty, what to ask next."""
    item = cast(Json, schema.get("items", {}))
    count = schema.get("minItems", 0)
    if count:
        sayings = [_ASIDE[at % len(_ASIDE)].format(_topic(subject)) for at in range(count)]
    else:
        sentences = re.split(r"(?<=[.!?])\s+", subject)
        sayings = [each for each in sentences if _FIRST_PERSON.search(each) and not each.endswith("?")]
        sayings = sayings[: schema.get("maxItems", len(sayings))]
    if item.get("type") != "string":
        return [_value(item, each) for each in sayings]
    return [each[: item.get("maxLength", len(each))] for each in sayings]


def _string(schema: Json, subject: str) -> str:
    return _topic(subject)[: schema.get("maxLength", _CHARS)]


def _topic(subject: str) -> str:
    words = re.sub(r"[^\w\s'-]", "", subject).split()
    return " ".join(words[:_WORDS])[:_CHARS].strip() or "nothing in words"


def _no(_schema: Json, _subject: str) -> bool:
    return False


def _number(schema: Json, subject: str) -> int:
    least = schema.get("minimum", 0)
    number = _number_in(subject)
    number = least if number is None else number
    return max(least, min(number, schema.get("maximum", number)))


def _number_in(subject: str) -> int | None:
    found = re.search(rf"\d{{1,9}}|\b({'|'.join(_NUMERALS)})\b", subject, re.IGNORECASE)
    if not found:
        return None
    return _NUMERALS.index(found[0].lower()) if found[1] else int(found[0])


_MAKERS: dict[Any, Callable[[Json, str], Any]] = {
    "object": _object,
    "array": _list,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": _no,
}
