"""A user's profile, in the user's own words: parsed by the web tier, kept in the database, read by the worker."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

MAX_TEXT_CHARS = 8000  # of the text and the facts together, because every prompt contains them

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Key = Annotated[str, Meta(min_length=1, max_length=100)]
Fact = Annotated[str, Meta(max_length=1000)] | int | float | bool


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The name of the assistant (the model chooses one where it is absent), and a text and facts about the user."""

    assistant_name: Name | None = None
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] = ""
    facts: Annotated[dict[Key, Fact], Meta(max_length=100)] = {}

    def as_text(self) -> str:
        """Return the text, then one line per fact, for a prompt; empty where there are neither.

        A profile that was stored before it was bounded is cut at `MAX_TEXT_CHARS`.
        """
        facts = [f"{key}: {value}" for key, value in self.facts.items()]
        return "\n".join([*([self.text] if self.text.strip() else []), *facts])[:MAX_TEXT_CHARS]

    @property
    def is_too_long(self) -> bool:
        """Whether text and facts have more than `MAX_TEXT_CHARS` characters together."""
        return len(self.text) + sum(len(f"{key}: {value}\n") for key, value in self.facts.items()) > MAX_TEXT_CHARS


def parse_profile(built: dict[str, Any]) -> Profile | None:
    """Return the profile in a parsed JSON object, or None where it is not one."""
    try:
        return msgspec.convert(built, Profile)
    except (msgspec.ValidationError, UnicodeEncodeError):  # a name with a lone surrogate cannot even be reported
        return None
