"""The cost of a call, by the candidate's price. Pure."""

import msgspec

from millrace.worker.contract.events import Usage
from millrace.worker.settings.catalog import Candidate

_MILLION = 1_000_000


def with_cost(usage: Usage, candidate: Candidate) -> Usage:
    """Return the usage with its cost in US dollars; without one if the candidate's price is not known."""
    price = candidate.price
    if price is None:
        return usage
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    cost = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * read
        + usage.cache_write_tokens * write
    ) / _MILLION
    return msgspec.structs.replace(usage, cost=round(cost, 9))
