"""A client of Redis whose errors say which Redis it is: what it is for and where, never with its password."""

from typing import Any

import redis
from redis.client import Pipeline


def note_server(error: Exception, label: str) -> None:
    """Note on an error which server it came from, unless that is noted already."""
    if label and not getattr(error, "__notes__", None):
        error.add_note(label)


def label_of(client: redis.Redis) -> str:
    """Return what a client's errors call its server; "" for a client that `connect` has not made."""
    return getattr(client, "label", "")


def describe(error: Exception) -> str:
    """Return an error's text with the server and with the code of Redis's reply, which redis-py removes.

    Example: `broker Redis at 10.0.0.1:6379: OOM command not allowed when used memory > 'maxmemory'.`
    """
    text, code = str(error), getattr(error, "status_code", None)
    if code and code != "ERR" and code not in text:
        text = f"{code} {text}"
    return ": ".join([*getattr(error, "__notes__", []), text])


class NamedClient(redis.Redis):
    """A client with a label for its errors."""

    label = ""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; an error has a note about its server."""
        try:
            return super().execute_command(*args, **options)
        except redis.RedisError as error:
            note_server(error, self.label)
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline with the same label."""
        made = NamedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.label = self.label
        return made


class NamedPipeline(Pipeline):
    """A pipeline with a label for its errors."""

    label = ""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the commands; each error, raised or among the replies, has a note about its server."""
        try:
            replies = super().execute(raise_on_error)
        except redis.RedisError as error:
            note_server(error, self.label)
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                note_server(reply, self.label)
        return replies
