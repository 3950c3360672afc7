"""The places that hold the data of owners, as the deletions of this room need them."""

from dataclasses import dataclass

from millrace.worker.contract.cancellation import cancel, forget
from millrace.worker.contract.conversation_lock import mark_deleted
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings
from millrace.worker.store import retention
from millrace.worker.store.database import Database
from millrace.worker.store.image_files import ImageFiles

_log = get_logger(__name__)


@dataclass(frozen=True)
class Stores:
    """Redis, the database and the images of one system."""

    settings: Settings
    streams: Streams
    database: Database
    images: ImageFiles

    @property
    def redis(self) -> Redis:
        """The Redis that holds everything that is no generation's."""
        return self.streams.control

    def close_conversation(self, owner: str, conversation: str) -> frozenset[str]:
        """Let no generation start in a conversation any more, and cancel the one that runs in it.

        Returns its last and its first generation, whose answers may not be stored. Raises RedisUnavailable.
        """
        last, first = mark_deleted(self.redis, owner, conversation)  # before all else
        if last is not None:
            cancel(self.streams, last, "deleted", self.settings)
        return frozenset(each for each in (last, first) if each is not None)

    def remove_messages(self, conversation: str) -> int:
        """Remove the messages of a conversation that is marked as deleted, with their logs and images, in small steps.

        Returns how many they were. Raises RedisUnavailable, DatabaseUnavailable.
        """
        removed = 0
        while True:
            # Logs and images go first: the messages name them, so that an interrupted removal can be repeated.
            read = self.database.run(lambda session: retention.read_generations(session, conversation))
            if not read.count:
                return removed
            self.forget(read.generations)
            removed += self.database.run(lambda session: retention.remove_messages(session, conversation))

    def forget(self, generations: frozenset[str]) -> None:
        """Delete the logs and images of generations; raises RedisUnavailable."""
        forget(self.streams, generations)
        try:
            self.images.delete(generations)
        except OSError as error:  # the housekeeping deletes them later
            _log.warning("images_not_deleted", generations=len(generations), error=error)
