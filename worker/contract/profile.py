"""Who a user is, in the user's own words: checked at the web's edge, kept in the store, read by the worker."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

MAX_TEXT_CHARS = 8000

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Key = Annotated[str, Meta(min_length=1, max_length=100)]
Fact = Annotated[str, Meta(max_length=1000)] | int | float | bool


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`assistant_name` is what the assistant is called; where it is absent, the model makes one up."""

    assistant_name: Name | None = None
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] = ""
    facts: Annotated[dict[Key, Fact], Meta(max_length=100)] = {}

    def as_text(self) -> str:
        """Return what is told of the user: the text, then a line a fact; empty where there is nothing."""
        facts = [f"{key}: {value}" for key, value in self.facts.items()]
        return "\n".join([*([self.text] if self.text.strip() else []), *facts])


def parse_profile(kept: dict[str, Any]) -> Profile | None:
    """Return the profile that an object is, None where it is none."""
    try:
        return msgspec.convert(kept, Profile)
    except (msgspec.ValidationError, UnicodeEncodeError):  # a name with a lone surrogate can't even be told
        return None
