"""Sources of one's own, by their import paths."""

from importlib import import_module
from typing import Any, cast

from millrace.worker.context.source import Source
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings


def load_own(settings: Settings) -> list[Source]:
    """Return the sources that `MILLRACE_CONTEXT` names; raises SettingError where one can't be had."""
    return [_load(path) for path in settings.context.sources]


def _load(path: str) -> Source:
    module, _, name = path.partition(":")
    try:
        source: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"MILLRACE_CONTEXT: {path} can't be imported: {error}") from error
    is_source = (
        isinstance(getattr(source, "name", None), str)
        and isinstance(getattr(source, "seconds", None), int | float)
        and callable(getattr(source, "gather", None))
        and not isinstance(source, type)
    )
    if not is_source:
        raise SettingError(f"MILLRACE_CONTEXT: {path} is no source: it needs a name, seconds and gather(question)")
    return cast("Source", source)
