"""Structured logs: an event's name and its fields, one JSON object a line, with what the running greenlet has bound.

What other libraries log by the standard module comes out in the same form. A logger is bound to no global
configuration of structlog's: an app that this one is mounted in keeps its own, and reads our events as
`name field=value`.
"""

import logging
from typing import Any

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, ProcessorReturnValue

Logger = BoundLogger

_CHATTY = ("celery.worker.strategy", "celery.app.trace", "botocore", "boto3", "urllib3", "flask-limiter", "httpx")


class LogEvent(dict[str, Any]):
    """An event on its way to a handler; as text, its name and then its fields."""

    def __str__(self) -> str:
        fields = [f"{name}={value}" for name, value in self.items() if name not in ("event", "exc_info")]
        return " ".join([str(self.get("event", "")), *fields])


def _hand_over(logger: logging.Logger, method: str, event: EventDict) -> ProcessorReturnValue:
    arguments, keywords = ProcessorFormatter.wrap_for_formatter(logger, method, event)
    (fields,) = arguments
    # Named a second time for handlers that are not ours.
    return (LogEvent(fields),), {**keywords, "exc_info": fields.get("exc_info")}


def _in_order(_logger: logging.Logger, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("time", "level", "event")}
    return {**first, **event}


def get_logger(name: str) -> Logger:
    """Return the logger of a module: `_log.info("ended", generation=…)`; no value may be a user's text."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _hand_over],
        wrapper_class=BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def make_handler() -> logging.Handler:
    """Return what writes every log line, ours and other libraries', to the standard error as JSON."""
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
                _in_order,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    return handler


def configure(level: int | str = logging.INFO) -> None:
    """Have this process write its log so; once, at its start."""
    logging.basicConfig(level=level, handlers=[make_handler()], force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
