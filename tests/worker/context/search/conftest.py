"""A search service for each test."""

from collections.abc import Iterator

import pytest

from tests.worker.context.search.search_service import SearchService, run_search_service


@pytest.fixture
def service() -> Iterator[SearchService]:
    with run_search_service() as running:
        yield running
