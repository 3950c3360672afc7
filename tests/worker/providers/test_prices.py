"""The cost of a call by its candidate's price."""

import pytest
from msgspec import UNSET

from millrace.worker.contract.events import Usage
from millrace.worker.providers.prices import with_cost
from millrace.worker.settings.catalog import UNKNOWN_MODEL, Candidate, Price

USAGE = Usage(1000, 100, cache_read_tokens=10_000, cache_write_tokens=2000)


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(3, 15), (13_000 * 3 + 100 * 15) / 1e6),
        (Price(3, 15, cache_read=0.3, cache_write=3.75), (3000 + 1500 + 3000 + 7500) / 1e6),
        (Price(0, 0), 0),
        (None, UNSET),
    ],
)
def test_each_kind_of_token_has_its_price_and_an_unknown_price_gives_no_cost(price: Price | None, cost: object) -> None:
    found = with_cost(USAGE, Candidate("openai", "own", UNKNOWN_MODEL, price)).cost
    assert found == (cost if cost is UNSET else pytest.approx(cost))
