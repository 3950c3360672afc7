"""The conversation of a chat, and the generation that runs in it.

An app makes up its chats' ids. One that is the id of a conversation of the owner's stands for that conversation; any
other has a conversation of its own, whose id is a hash of the owner and of it.
"""

import hashlib
import json

from sqlalchemy.orm import Session

from millrace.webapp.services import services
from millrace.worker.contract.conversation_lock import read_owner, running_generations
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.state import GenerationState, read_state
from millrace.worker.store import conversations, messages
from millrace.worker.store.messages import StoredQuestion


def hashed_conversation(owner: str, chat: str) -> str:
    """Return the id of the conversation that a chat's id stands for where it is not one itself."""
    return hashlib.sha256(json.dumps(["chat", owner, chat]).encode()).hexdigest()[:32]


def find_conversation(owner: str, chat: str) -> str | None:
    """Return the chat's id if it is that of a conversation of the owner's, else None.

    Another user's id causes the same queries as an absent one, so that their time does not tell them apart. Raises
    RedisUnavailable, DatabaseUnavailable.
    """
    if not is_id(chat):
        return None
    if read_owner(services().redis, owner, chat) == "own":
        return chat
    found = services().database.read(lambda reader: conversations.find(reader, owner, chat))
    return None if found is None else chat


def running_generation(owner: str, chat: str) -> GenerationState | None:
    """Return the generation that runs in a chat, None if none does; raises RedisUnavailable."""
    streams = services().streams
    # Redis knows the conversation of each generation that runs.
    is_own = is_id(chat) and read_owner(streams.control, owner, chat) == "own"
    candidates = [hashed_conversation(owner, chat), *([chat] if is_own else [])]
    for generation in running_generations(streams, candidates).values():
        state = read_state(streams, generation)
        if state is not None and state.owner == owner and not state.is_deleted:
            return state
    return None


def find_asked_question(owner: str, conversation: str, content: str, answer: str | None) -> StoredQuestion | None:
    """Return the stored question with this content that is to be answered again, None if there is no such one.

    It is the question of the answer with this id, else the conversation's newest one. Raises DatabaseUnavailable.
    """

    def find(session: Session) -> StoredQuestion | None:
        if answer is not None and is_id(answer):
            question = messages.find_question(session, owner, conversation, answer)
            if question is not None:
                return question
        newest = messages.page(session, owner, conversation, None, 1).items
        if not newest:
            return None
        if newest[0].parent is not None:
            return messages.find_question(session, owner, conversation, newest[0].id)
        return StoredQuestion(newest[0].id, owner, conversation, newest[0].content)

    question = services().database.run(find)
    return question if question is not None and question.content == content else None
