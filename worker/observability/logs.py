"""Structured logs: one JSON object per line, with the event's name, its fields and those bound in the running greenlet.

Log records of other libraries have the same form. The loggers do not use structlog's global configuration, so a host
application that this one is mounted in keeps its own, and its handlers render our events as `name field=value`.
"""

import logging
from typing import Any

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, ProcessorReturnValue

Logger = BoundLogger

_VERBOSE = ("celery.worker.strategy", "celery.app.trace", "botocore", "boto3", "urllib3", "limits", "httpx")


class LogEvent(dict[str, Any]):
    """An event as the message of a log record; its text is its name and then its fields, on one line."""

    def __str__(self) -> str:
        fields = [f"{name}={value}" for name, value in self.items() if name not in ("event", "exc_info")]
        return _printable(" ".join([str(self.get("event", "")), *fields]))


def _printable(text: str) -> str:
    """Return the text with an escape for each character that could end the line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _wrap_event(logger: logging.Logger, method: str, event: EventDict) -> ProcessorReturnValue:
    arguments, keywords = ProcessorFormatter.wrap_for_formatter(logger, method, event)
    (fields,) = arguments
    # `exc_info` is repeated for handlers of a host application.
    return (LogEvent(fields),), {**keywords, "exc_info": fields.get("exc_info")}


def _order_fields(_logger: logging.Logger, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("time", "level", "event")}
    return {**first, **event}


def get_logger(name: str) -> Logger:
    """Return a module's logger, for calls such as `_log.info("ended", generation=…)`. No value may hold user text."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _wrap_event],
        wrapper_class=BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def make_handler() -> logging.Handler:
    """Return a handler that writes every log record, ours and other libraries', to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                ProcessorFormatter.remove_processors_meta,
                _order_fields,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    return handler


def configure(level: int | str = logging.INFO) -> None:
    """Configure this process's logging; called once, at its start."""
    logging.basicConfig(level=level, handlers=[make_handler()], force=True)
    for name in _VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
