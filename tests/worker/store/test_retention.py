"""Deletion by age, on both databases."""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from millrace.worker.store import conversations, memories, messages, retention
from millrace.worker.store.answers import save_answer
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversation_search import index_pending, search
from millrace.worker.store.conversations import TOMBSTONE_MS
from millrace.worker.store.database import Database
from millrace.worker.store.retention import DAY_MS, MESSAGES, OwnedConversation, OwnerDays
from millrace.worker.store.tables import ConversationRow, MemoryRow, MessageRow, SearchEntryRow
from tests.worker.store.samples import answer, question


def store(database: Database, owner: str, days_old: float, turns: int = 1) -> str:
    """Store a conversation that changed last so many days ago, and a memory of that time; return its id."""
    conversation = question().conversation

    def work(session: Session) -> None:
        for turn in range(turns):
            asked = question(f"about otters {turn}", conversation, owner)
            messages.save_question(session, asked)
            save_answer(session, asked, answer(f"because {turn}"))
        conversations.set_title_if_untitled(session, owner, conversation, "Otters")
        memories.add(session, owner, f"a fact of {conversation}", conversation)
        age = int(days_old * DAY_MS)
        session.execute(
            update(ConversationRow).where(ConversationRow.id == conversation).values(updated_ms=clock_ms() - age)
        )
        session.execute(
            update(MemoryRow).where(MemoryRow.conversation == conversation).values(created_ms=clock_ms() - age)
        )

    database.run(work)
    return conversation


def expired(database: Database, days: int, count: int = 100) -> list[str]:
    return [each.id for each in database.run(lambda session: retention.find_expired(session, days, count))]


def rows(database: Database, table: type[ConversationRow | MessageRow | MemoryRow | SearchEntryRow]) -> int:
    return database.run(lambda session: session.scalar(select(func.count()).select_from(table)) or 0)


def set_days(database: Database, owner: str, days: int | None) -> None:
    database.run(lambda session: retention.set_days(session, owner, days))


def test_conversation_expires_by_its_last_change_and_the_days_of_its_owner(database: Database) -> None:
    oldest, old = store(database, "ada", 40), store(database, "ada", 31)
    store(database, "ada", 29)
    held, brief = store(database, "held", 4000), store(database, "brief", 3)
    store(database, "brief", 1)
    set_days(database, "held", None)
    set_days(database, "brief", 7)
    set_days(database, "brief", 2)
    assert expired(database, 30) == [brief, oldest, old]
    assert expired(database, 30, 2) == [brief, oldest]
    assert expired(database, 0) == [brief]
    listed = database.run(retention.list_days)
    assert listed == [OwnerDays("brief", 2), OwnerDays("held", None)]
    assert database.run(lambda session: retention.reset_days(session, "held"))
    assert not database.run(lambda session: retention.reset_days(session, "held"))
    assert expired(database, 30) == [brief, held, oldest, old]
    set_days(database, "ada", 30)
    assert len(expired(database, 30, 2)) == 2, "owners with days of their own share the limit"
    set_days(database, "ada", 36_500)
    assert expired(database, 30) == [brief, held]


def test_conversation_that_changed_since_it_was_found_is_kept(database: Database) -> None:
    conversation = store(database, "ada", 31)
    (found,) = database.run(lambda session: retention.find_expired(session, 30, 9))
    assert found == OwnedConversation("ada", conversation, found.updated_ms)
    database.run(lambda session: conversations.create_or_touch(session, "ada", conversation))
    assert not database.run(lambda session: retention.mark_expired(session, found))
    assert database.run(lambda session: conversations.find(session, "ada", conversation))
    other = store(database, "ada", 32)
    (found,) = database.run(lambda session: retention.find_expired(session, 30, 9))
    assert found.id == other
    marked = [database.run(lambda session: retention.mark_expired(session, found)) for _ in range(2)]
    assert marked == [True, False], "another process may have found it as well"


def test_expired_conversation_is_hidden_at_once_and_its_messages_and_index_entries_go_in_steps(
    database: Database,
) -> None:
    turns = MESSAGES // 2 + 1
    conversation = store(database, "ada", 31, turns)
    kept = store(database, "ada", 1)
    while index_pending(database):
        pass
    assert rows(database, SearchEntryRow) == 2 * turns + 2 + 2
    assert database.run(lambda session: retention.remove_messages(session, conversation)) == 0  # it is not deleted
    (found,) = database.run(lambda session: retention.find_expired(session, 30, 9))
    assert database.run(lambda session: retention.mark_expired(session, found))
    assert database.run(lambda session: conversations.find(session, "ada", conversation)) is None
    hits = database.run(lambda session: search(session, "ada", "otters", None, 9)).items
    assert [each.conversation.id for each in hits] == [kept]
    assert database.run(lambda session: retention.find_unremoved(session, 9)) == [conversation]
    read = database.run(lambda session: retention.read_generations(session, conversation))
    assert (read.count, len(read.generations)) == (MESSAGES, MESSAGES // 2)
    removed = [database.run(lambda session: retention.remove_messages(session, conversation)) for _ in range(3)]
    assert removed == [MESSAGES, 2, 0]
    assert database.run(lambda session: retention.find_unremoved(session, 9)) == []
    assert (rows(database, MessageRow), rows(database, SearchEntryRow)) == (2, 3)


def test_empty_rows_go_once_no_generation_can_bring_their_conversation_back(database: Database) -> None:
    gone, fresh, full = (store(database, "ada", 31) for _ in range(3))
    for conversation in (gone, fresh):
        database.run(lambda session, each=conversation: conversations.delete(session, "ada", each))
    for found in database.run(lambda session: retention.find_expired(session, 30, 9)):
        database.run(lambda session, found=found: retention.mark_expired(session, found))
    long_ago = clock_ms() - TOMBSTONE_MS - 1000

    def age(session: Session) -> None:
        is_old = ConversationRow.id.in_([gone, full])
        session.execute(update(ConversationRow).where(is_old).values(deleted_ms=long_ago))

    database.run(age)
    assert database.run(lambda session: retention.remove_tombstones(session, 9)) == 1
    left = set(database.run(lambda session: list(session.scalars(select(ConversationRow.id)))))
    assert left == {fresh, full}  # one may still come back, one still has messages


def test_memories_expire_by_the_time_when_they_were_learned(database: Database) -> None:
    for owner, age in (("ada", 31), ("ada", 32), ("ada", 1), ("held", 99), ("brief", 3)):
        store(database, owner, age)
    set_days(database, "held", None)
    set_days(database, "brief", 2)
    removed = [database.run(lambda session: retention.remove_expired_memories(session, 30, 2)) for _ in range(3)]
    assert removed == [2, 1, 0]
    assert rows(database, MemoryRow) == 2
    assert database.run(lambda session: memories.search(session, "brief", "a fact", 9)) == []
