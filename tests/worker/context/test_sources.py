"""The settings say which sources there are."""

import pytest

from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.searxng import Searxng
from millrace.worker.context.sources import make_engine, make_sources
from millrace.worker.errors import SettingError
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import load
from millrace.worker.store.database import Database

OWN = "tests.worker.context.test_plugins:clock"
SEARXNG = {"MILLRACE_SEARCH_ENGINE": "searxng", "MILLRACE_SEARCH_URL": "http://127.0.0.1:8888"}


def test_nothing_is_searched_unless_an_engine_is_configured() -> None:
    assert make_engine(load({})) is None
    assert isinstance(make_engine(load(SEARXNG)), Searxng)
    assert isinstance(make_engine(load({"MILLRACE_SEARCH_ENGINE": "brave", "MILLRACE_SEARCH_KEY": "k"})), Brave)


@pytest.mark.parametrize(("engine", "missing"), [("searxng", "MILLRACE_SEARCH_URL"), ("brave", "MILLRACE_SEARCH_KEY")])
def test_an_engine_without_what_it_needs_stops_the_start(engine: str, missing: str) -> None:
    with pytest.raises(SettingError, match=f"{missing}: is not set"):
        make_engine(load({"MILLRACE_SEARCH_ENGINE": engine}))


def test_ones_own_come_after_those_that_are_built_in(database: Database) -> None:
    made = make_sources(load({"MILLRACE_CONTEXT": OWN, **SEARXNG}), Stub([]), database)
    names = [source.name for source in made.sources]
    assert names == ["profile", "history", "memory", "search", "clock"]
    made.close()


def test_two_sources_of_one_name_stop_the_start(database: Database) -> None:
    with pytest.raises(SettingError, match=r"MILLRACE_CONTEXT: .*clock"):
        make_sources(load({"MILLRACE_CONTEXT": f"{OWN},{OWN}"}), Stub([]), database)
