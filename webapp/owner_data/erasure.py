"""The deletion of all that Millrace holds of one owner, for a command of an operator.

It cancels what runs, deletes the conversations with their logs and images, then memories, the profile and what is left
in Redis. Another round finds the data that requests of the owner add meanwhile. Empty rows and keys of the deleted
conversations stay for a day, so that a worker that was suspended does not bring them back.
"""

import time
from dataclasses import dataclass

from sqlalchemy.orm import Session

from millrace.webapp.owner_data.stores import Stores
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.owner_keys import delete_counts, delete_owner_keys, find_generations
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.state import GenerationState, read_states
from millrace.worker.store import conversations, memories, profiles, retention
from millrace.worker.store.holdings import Holdings, count_holdings, find_owned_conversations

ROUNDS = 3
END_SECONDS = 10.0  # a worker ends a cancelled generation within half a second
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Found:
    """The data of an owner: rows of the database, and generations in Redis, some of which run."""

    holdings: Holdings
    generations: tuple[GenerationState, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left that can be deleted."""
        return self.holdings.is_empty and not self.generations

    @property
    def running(self) -> int:
        """How many generations run."""
        return sum(each.is_running for each in self.generations)


@dataclass
class Erased:
    """How much has been deleted; `keys` are Redis's, without those of generations."""

    conversations: int = 0
    messages: int = 0
    memories: int = 0
    profiles: int = 0
    generations: int = 0
    cancelled: int = 0
    keys: int = 0


class Erasure:
    """Deletes one owner's data; each method raises RedisUnavailable, DatabaseUnavailable, QueueUnavailable.

    `limits` is the Redis that counts the owner's requests.
    """

    def __init__(self, stores: Stores, task_queue: TaskQueue, limits: Redis, owner: str) -> None:
        self._stores = stores
        self._task_queue = task_queue
        self._limits = limits
        self._owner = owner

    def find(self) -> Found:
        """Return what there is of the owner."""
        holdings = self._stores.database.run(lambda session: count_holdings(session, self._owner))
        found = find_generations(self._stores.streams, self._owner)
        return Found(holdings, tuple(each for each in found if not each.is_deleted))

    def erase(self) -> tuple[Erased, Found]:
        """Delete all, and return how much it was and what is left, which is nothing unless the owner goes on asking."""
        erased, generations = Erased(), set[str]()
        for _ in range(ROUNDS):
            found = self.find()
            if found.is_empty:
                break
            self._cancel(found, erased)
            self._delete_conversations(found, erased)
            self._stores.forget(frozenset(each.generation for each in found.generations))
            generations |= {each.generation for each in found.generations}
            self._delete_rows(erased)
            self._await_end(found)
        erased.generations = len(generations)
        erased.keys += delete_owner_keys(self._stores.redis, self._owner, generations)
        erased.keys += delete_counts(self._limits, self._owner)
        return erased, self.find()

    def _cancel(self, found: Found, erased: Erased) -> None:
        for each in found.generations:
            if each.is_running and cancel(self._stores.streams, each.generation, "deleted", self._stores.settings):
                erased.cancelled += 1
        self._task_queue.remove([each.generation for each in found.generations if each.is_running])

    def _delete_conversations(self, found: Found, erased: Erased) -> None:
        stores, owner = self._stores, self._owner
        stored = stores.database.run(lambda session: find_owned_conversations(session, owner))
        unstored = {each.conversation for each in found.generations if each.question}.difference(stored)
        for conversation in (*stored, *sorted(unstored)):
            stores.close_conversation(owner, conversation)  # its generations are among those that are forgotten
            erased.conversations += stores.database.run(lambda session, each=conversation: self._mark(session, each))
            erased.messages += stores.remove_messages(conversation)
            publish(stores.redis, owner, ConversationChanged(conversation))

    def _mark(self, session: Session, conversation: str) -> bool:
        # One that is not stored yet is created here first, so that its answer cannot create it later.
        conversations.create_or_touch(session, self._owner, conversation)
        return conversations.mark_deleted(session, self._owner, conversation)

    def _delete_rows(self, erased: Erased) -> None:
        # After the messages: what is learned from an answer is stored only while the answer is.
        database, owner = self._stores.database, self._owner
        erased.memories += database.run(lambda session: memories.delete_all(session, owner))
        erased.profiles += database.run(lambda session: profiles.delete(session, owner))
        database.run(lambda session: retention.reset_days(session, owner))

    def _await_end(self, found: Found) -> None:
        """Wait until workers have ended what ran: what they publish to the owner's feed at the end is deleted then."""
        running = [each.generation for each in found.generations if not each.is_done]
        deadline = time.monotonic() + END_SECONDS
        while running and time.monotonic() < deadline:
            states = read_states(self._stores.streams, running)
            running = [each.generation for each in states if each is not None and not each.is_done]
            time.sleep(_POLL_SECONDS if running else 0)
