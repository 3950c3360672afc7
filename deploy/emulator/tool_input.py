"""Generate the input of a forced tool: its JSON schema gives the shape, the user's message the values. Pure."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from deploy.emulator.directive import Directive, find_forced, is_directive
from deploy.emulator.request import ForcedTool, Json, Turn

_TOPIC_WORDS = 8  # of the user's message, for a string
_TOPIC_CHARS = 60
_DIRECTIVE_TOPIC = "a scripted answer"  # stands for a message that is a directive
_EMPTY_TOPIC = "a message without text"
_FOLLOW_UPS = ("More about {}?", "Why is that so: {}?", "An example of {}?", "What comes after {}?")
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_FIRST_PERSON = re.compile(r"\b(I|I'm|my|we|our)\b", re.IGNORECASE)


def find_tool_directive(forced_tool: ForcedTool, turns: Sequence[Turn]) -> Directive | None:
    """Return the script for the forced tool from the latest directive in the user's messages, None if it has none.

    Raises ServiceError for an invalid directive.
    """
    for text in reversed(_user_texts(turns)):
        if is_directive(text):
            return find_forced(text).get(forced_tool.name)
    return None


def find_instructed_schema(question: str) -> Json | None:
    """Return the JSON schema in the last line of a message that asks for JSON, None if there is none."""
    try:
        schema = json.loads(question.rpartition("\n")[2])
    except (ValueError, RecursionError):
        return None
    return cast(Json, schema) if isinstance(schema, dict) and "properties" in schema else None


def generate_input(schema: Json, turns: Sequence[Turn]) -> Any:
    """Return an input that satisfies the schema's types, enums, bounds and lengths.

    The values come from the user's message before the last answer, or from the last message if there is no answer:
    when a small model reviews a turn, the message after the answer holds only the caller's instructions.
    """
    return _generate_value(schema, _subject(turns))


def _subject(turns: Sequence[Turn]) -> str:
    last = max((at for at, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns))
    texts = _user_texts(turns[:last]) or [""]
    if len(texts) > 1 and find_instructed_schema(texts[-1]):
        texts.pop()  # the caller's instruction
    text = texts[-1]
    return _DIRECTIVE_TOPIC if is_directive(text) else text


def _user_texts(turns: Sequence[Turn]) -> list[str]:
    return [text for turn in turns if turn.role == "user" for text in turn.texts]


def _generate_value(schema: Json, subject: str) -> Any:
    if "enum" in schema:
        return next(_enum_matches(schema, subject), schema["enum"][0])
    if "pattern" in schema and (found := re.search(schema["pattern"], subject)):
        return found[0]
    kind = schema.get("type")
    generate = _GENERATORS.get(kind[0] if isinstance(kind, list) else kind)
    return generate(schema, subject) if generate else schema.get("const")


def _generate_object(schema: Json, subject: str) -> Json:
    """Return the object's properties, without optional ones for which the message holds no value."""
    properties = cast(Json, schema.get("properties", {}))
    required = schema.get("required", [])
    return {
        name: _generate_value(each, subject)
        for name, each in properties.items()
        if name in required or not _is_absent(each, subject)
    }


def _is_absent(schema: Json, subject: str) -> bool:
    """Return whether the message holds no value for this enum, pattern or number."""
    if "enum" in schema:
        return next(_enum_matches(schema, subject), None) is None
    if "pattern" in schema:
        return re.search(schema["pattern"], subject) is None
    return schema.get("type") in ("integer", "number") and _number_in(subject) is None


def _enum_matches(schema: Json, subject: str) -> Iterator[str]:
    return (each for each in schema["enum"] if isinstance(each, str) and each.lower() in subject.lower())


def _generate_list(schema: Json, subject: str) -> list[Any]:
    """Return the user's statements about themselves, or follow-up questions if the list must not be empty."""
    item = cast(Json, schema.get("items", {}))
    count = schema.get("minItems", 0)
    if count:
        items = [_FOLLOW_UPS[at % len(_FOLLOW_UPS)].format(_topic(subject)) for at in range(count)]
    else:
        sentences = re.split(r"(?<=[.!?])\s+", subject)
        items = [each for each in sentences if _FIRST_PERSON.search(each) and not each.endswith("?")]
        items = items[: schema.get("maxItems", len(items))]
    if item.get("type") != "string":
        return [_generate_value(item, each) for each in items]
    return [each[: item.get("maxLength", len(each))] for each in items]


def _generate_string(schema: Json, subject: str) -> str:
    return _topic(subject)[: schema.get("maxLength", _TOPIC_CHARS)]


def _topic(subject: str) -> str:
    words = re.sub(r"[^\w\s'-]", "", subject).split()
    return " ".join(words[:_TOPIC_WORDS])[:_TOPIC_CHARS].strip() or _EMPTY_TOPIC


def _generate_false(_schema: Json, _subject: str) -> bool:
    return False


def _generate_number(schema: Json, subject: str) -> int:
    minimum = schema.get("minimum", 0)
    number = _number_in(subject)
    number = minimum if number is None else number
    return max(minimum, min(number, schema.get("maximum", number)))


def _number_in(subject: str) -> int | None:
    found = re.search(rf"\d{{1,9}}|\b({'|'.join(_NUMERALS)})\b", subject, re.IGNORECASE)
    if not found:
        return None
    return _NUMERALS.index(found[0].lower()) if found[1] else int(found[0])


_GENERATORS: dict[Any, Callable[[Json, str], Any]] = {
    "object": _generate_object,
    "array": _generate_list,
    "string": _generate_string,
    "integer": _generate_number,
    "number": _generate_number,
    "boolean": _generate_false,
}
