"""The cost of a call: by the candidate's own price, else by the package genai-prices if the settings ask for it.

genai-prices comes with the extra `prices`. Its table is the one of its release: the updater, which would fetch a newer
one, is never started.
"""

from functools import cache
from importlib import import_module
from typing import Any

import msgspec

from millrace.worker.contract.events import Usage
from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.catalog import Candidate, Price
from millrace.worker.settings.provider_groups import OPENAI_URL
from millrace.worker.settings.schema import Settings

_MILLION = 1_000_000
_VENDORS = {
    "bedrock": "aws",
    "bedrock-invoke": "aws",
    "openai": "openai",
    "gemini": "google",
    "anthropic": "anthropic",
}
"""The names of our providers in genai-prices."""

_log = get_logger(__name__)


@cache
def load_price_list(name: str) -> Any:
    """Return the package that lists prices, loaded once, which takes a second; raises SettingError if it is absent."""
    if not name:
        return None
    try:
        package = import_module(name.replace("-", "_"))
    except ImportError as error:
        raise SettingError(
            f"MILLRACE_PRICE_LIST: {name} is not installed; `pip install 'millrace[prices]'` installs it"
        ) from error
    package.calc_price(package.Usage(input_tokens=1), "gpt-5", provider_id="openai")  # reads its table
    return package


def with_cost(usage: Usage, candidate: Candidate, settings: Settings) -> Usage:
    """Return the usage with its cost in US dollars; without one if the candidate's price is not known."""
    cost = _own_cost(usage, candidate.price) if candidate.price else _listed_cost(usage, candidate, settings)
    return usage if cost is None else msgspec.structs.replace(usage, cost=round(cost, 9))


def _own_cost(usage: Usage, price: Price) -> float:
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    cost = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * read
        + usage.cache_write_tokens * write
    )
    return cost / _MILLION


def _listed_cost(usage: Usage, candidate: Candidate, settings: Settings) -> float | None:
    vendor = _VENDORS.get(candidate.provider)
    is_elsewhere = candidate.provider == "openai" and settings.openai.base_url != OPENAI_URL  # its prices are unknown
    package = load_price_list(settings.models.price_list)
    if package is None or vendor is None or is_elsewhere:
        return None
    counts = package.Usage(
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    try:
        return float(package.calc_price(counts, candidate.id, provider_id=vendor).total_price)
    except LookupError:
        return None
    except Exception as error:  # noqa: BLE001 - a price must not cost the answer
        _log.warning("price_not_calculated", model=candidate.id, error=type(error).__name__)
        return None
