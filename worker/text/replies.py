"""Texts in the input of a forced tool, which a model often fills in nearly right. Pure."""

from collections.abc import Mapping
from typing import Any, cast

from millrace.worker.errors import GenerationFailed
from millrace.worker.text.lines import parse_json, single_text


def text_in(tool_input: Mapping[str, Any] | None, name: str) -> str:
    """Return the text of a member, or the only text in its object or list, not blank; raises GenerationFailed."""
    found = single_text((tool_input or {}).get(name))
    if found is None or not found.strip():
        raise _rejected()
    return found


def texts_in(tool_input: Mapping[str, Any] | None, name: str) -> list[str]:
    """Return the texts of a member, which should be a list; raises GenerationFailed.

    The list may be a string that holds it as JSON. An item that is no text counts if it holds a single one, and is left
    out otherwise.
    """
    value = (tool_input or {}).get(name)
    if isinstance(value, str):
        value = parse_json(value)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        value = members.get(name, [members])
    if not isinstance(value, list):
        raise _rejected()
    texts = [single_text(each) for each in cast("list[Any]", value)]
    return [text for text in texts if text is not None]


def _rejected() -> GenerationFailed:
    return GenerationFailed("provider_rejected", retryable=True)
