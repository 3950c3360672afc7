"""The sum of a receipt."""

from msgspec import UNSET

from millrace.worker.contract.events import PaidCall, Usage
from millrace.worker.receipt import total_of


def paid(usage: Usage) -> PaidCall:
    return PaidCall(
        usage.input_tokens,
        usage.output_tokens,
        exact=usage.exact,
        cost=usage.cost,
        purpose="answer",
        provider="bedrock",
        model="nova",
    )


def test_the_sum_is_exact_and_has_a_cost_only_if_each_call_is_and_has() -> None:
    first, second, unknown = Usage(1, 2, cost=0.1), Usage(3, 4, cost=0.2), Usage(5, 6, exact=False)
    assert total_of(map(paid, (first, second))) == Usage(4, 6, cost=0.3)
    assert total_of(map(paid, (first, unknown))) == Usage(6, 8, exact=False)
    assert total_of([]).cost is UNSET
