"""The cost of a call by its candidate's price."""

import pytest
from msgspec import UNSET

from millrace.worker.contract.events import Usage
from millrace.worker.errors import SettingError
from millrace.worker.providers.prices import load_price_list, with_cost
from millrace.worker.settings.catalog import DEFAULT_MODEL, UNKNOWN_MODEL, Candidate, Price, ProviderName
from millrace.worker.settings.schema import load

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
    found = with_cost(USAGE, Candidate("openai", "own", UNKNOWN_MODEL, price), load({})).cost
    assert found == (cost if cost is UNSET else pytest.approx(cost))


LISTED = load({"MILLRACE_PRICE_LIST": "genai-prices"})


@pytest.mark.parametrize(
    ("provider", "model", "is_known"),
    [
        ("bedrock", DEFAULT_MODEL, True),
        ("openai", "gpt-5", True),
        ("anthropic", "claude-sonnet-4-5-20250929", True),
        ("gemini", "gemini-2.5-flash", True),
        ("openai", "nobody-s-model", False),
        ("rlm", "rlm", False),
    ],
)
def test_a_model_without_a_price_of_its_own_has_the_listed_one(
    provider: ProviderName, model: str, is_known: bool
) -> None:
    assert (with_cost(USAGE, Candidate(provider, model, UNKNOWN_MODEL), LISTED).cost is not UNSET) is is_known


def test_the_list_counts_cached_tokens_at_their_own_price() -> None:
    cost = with_cost(USAGE, Candidate("bedrock", DEFAULT_MODEL, UNKNOWN_MODEL), LISTED).cost
    assert cost == pytest.approx((1000 * 3 + 100 * 15 + 10_000 * 0.3 + 2000 * 3.75) / 1e6)


def test_a_server_with_openais_api_has_no_listed_price() -> None:
    settings = load({"MILLRACE_PRICE_LIST": "genai-prices", "MILLRACE_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    assert with_cost(USAGE, Candidate("openai", "gpt-5", UNKNOWN_MODEL), settings).cost is UNSET


def test_without_the_setting_there_is_no_listed_price() -> None:
    assert with_cost(USAGE, Candidate("bedrock", DEFAULT_MODEL, UNKNOWN_MODEL), load({})).cost is UNSET


def test_a_list_that_is_not_installed_stops_the_start_with_the_command_that_installs_it() -> None:
    with pytest.raises(SettingError, match=r"MILLRACE_PRICE_LIST: not-there is not installed; .*millrace\[prices\]"):
        load_price_list("not-there")
