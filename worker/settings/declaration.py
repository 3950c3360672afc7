"""The declaration of a setting: a field whose metadata holds its variables, its parser and its documentation."""

from collections.abc import Callable
from dataclasses import field
from typing import Any


def setting(names: str, parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    """Declare a setting: its variables (the first that is set wins), parser, default, and a line of documentation."""
    return field(default=default, metadata={"names": names.split(), "parse": parse, "doc": doc})
