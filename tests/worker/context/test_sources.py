"""The settings decide which sources and which search engine a process has."""

import pytest

from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.searxng import Searxng
from millrace.worker.context.sources import make_engine, make_sources
from millrace.worker.errors import SettingError
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import load
from millrace.worker.store.database import Database
from tests.worker.harness import route

PLUGIN = "tests.worker.context.test_sources_plugins:clock"
SEARXNG = {"MILLRACE_SEARCH_ENGINE": "searxng", "MILLRACE_SEARCH_URL": "http://127.0.0.1:8888"}


def test_there_is_no_engine_unless_one_is_configured() -> None:
    assert make_engine(load({})) is None
    assert isinstance(make_engine(load(SEARXNG)), Searxng)
    assert isinstance(make_engine(load({"MILLRACE_SEARCH_ENGINE": "brave", "MILLRACE_SEARCH_KEY": "k"})), Brave)


@pytest.mark.parametrize(("engine", "missing"), [("searxng", "MILLRACE_SEARCH_URL"), ("brave", "MILLRACE_SEARCH_KEY")])
def test_an_engine_without_its_url_or_key_stops_the_start(engine: str, missing: str) -> None:
    with pytest.raises(SettingError, match=f"{missing}: is not set"):
        make_engine(load({"MILLRACE_SEARCH_ENGINE": engine}))


def test_plugins_come_after_the_built_in_sources(database: Database) -> None:
    sources = make_sources(load({"MILLRACE_CONTEXT": PLUGIN, **SEARXNG}), route(Stub([])), database)
    names = [source.name for source in sources.sources]
    assert names == ["search", "clock"]
    sources.close()


def test_two_sources_with_one_name_stop_the_start(database: Database) -> None:
    with pytest.raises(SettingError, match=r"MILLRACE_CONTEXT: .*clock"):
        make_sources(load({"MILLRACE_CONTEXT": f"{PLUGIN},{PLUGIN}"}), route(Stub([])), database)
