"""The receipt of a generation: what each of its calls of a model has used, and the sum. Pure."""

from collections.abc import Iterable

from msgspec import UNSET

from millrace.worker.contract.events import PaidCall, Usage


def total_of(calls: Iterable[PaidCall]) -> Usage:
    """Return the sum; it has a cost only if each call has one, and is exact only if each call is."""
    calls = list(calls)
    costs = [call.cost for call in calls]
    known = [cost for cost in costs if cost is not UNSET]
    return Usage(
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cache_read_tokens=sum(call.cache_read_tokens for call in calls),
        cache_write_tokens=sum(call.cache_write_tokens for call in calls),
        exact=all(call.exact for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens for call in calls),
        cost=round(sum(known), 9) if calls and len(known) == len(costs) else UNSET,
    )
