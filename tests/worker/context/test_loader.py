"""The sources of one question share one read of the store, and bear its failure each for itself."""

import gevent
import pytest
from sqlalchemy import event

from millrace.worker.context.loader import ContextLoader
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from tests.worker.context.asked import Asking


def test_sources_that_ask_at_once_share_one_transaction(settings: Settings, asking: Asking) -> None:
    begun: list[object] = []
    event.listen(asking.database._engine, "begin", begun.append)
    reader, question = ContextLoader(settings, asking.database), asking.ask("Why?")
    begun.clear()
    kept = [greenlet.get() for greenlet in [gevent.spawn(reader.kept, question) for _ in range(4)]]
    assert len(begun) == 1
    assert all(each is kept[0] for each in kept)
    reader.kept(question)
    assert len(begun) == 2


def test_two_questions_are_read_for_each_by_itself(settings: Settings, asking: Asking) -> None:
    asking.turn("One?", "Two.")
    reader, other = ContextLoader(settings, asking.database), Asking(asking.database)
    mine, theirs = [gevent.spawn(reader.kept, each.ask("Why?")) for each in (asking, other)]
    assert (len(mine.get().turns), len(theirs.get().turns)) == (1, 0)


def test_a_failure_is_everybodys_who_waits_and_the_next_reads_again(settings: Settings, away: Database) -> None:
    reader, question = ContextLoader(settings, away), Asking(away).question("Why?")
    waiting = [gevent.spawn(reader.kept, question) for _ in range(3)]
    gevent.joinall(waiting)
    assert [type(each.exception) for each in waiting] == [DatabaseUnavailable] * 3
    with pytest.raises(DatabaseUnavailable):
        reader.kept(question)


def test_who_is_cut_off_while_reading_leaves_nothing_behind(settings: Settings, asking: Asking) -> None:
    reader, question = ContextLoader(settings, asking.database), asking.ask("Why?")
    cut = gevent.spawn(reader.kept, question)
    gevent.sleep(0)
    cut.kill()
    assert reader.kept(question).profile is None


def test_a_request_with_a_history_of_its_own_is_told_who_asks_and_what_is_known_but_no_turns(
    settings: Settings, asking: Asking
) -> None:
    asking.turn("One?", "Two.")
    own = (PromptMessage("user", "A?"), PromptMessage("assistant", "B."))
    kept = ContextLoader(settings, asking.database).kept(asking.question("Why?", *own))
    assert (kept.turns, kept.slots) == ([], {})
