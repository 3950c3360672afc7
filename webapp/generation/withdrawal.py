"""Taking back what was made for an asker who was refused."""

from dataclasses import dataclass
from typing import Literal

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.creation import Ids, withdraw
from millrace.worker.store.database import Database
from millrace.worker.store.messages import delete_unanswered


@dataclass(frozen=True)
class CreatedGeneration:
    """A generation as far as it was made; `is_opening` where it opens its conversation."""

    owner: str
    ids: Ids
    is_opening: bool


def withdraw_whole(
    redis: Redis, database: Database, made: CreatedGeneration
) -> Literal["withdrawn", "kept", "claimed"]:
    """Take a generation back, and its question with it; may be called again. Raises RedisUnavailable, DatabaseUnavailable.

    `claimed`: the ring was heard after all. `kept`: another request has asked for the same one meanwhile.
    """
    verdict = withdraw(redis, made.ids.generation)
    if verdict == "withdrawn" and made.ids.question:
        owner, ids = made.owner, made.ids
        database.run(
            lambda session: delete_unanswered(
                session, owner, ids.conversation, ids.question, is_opening=made.is_opening
            )
        )
    return verdict
