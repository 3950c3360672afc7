"""Pauses grow and are bounded; a process retries no more than its budget allows."""

from millrace.worker.providers.retry import BUDGET, MAX_SECONDS, RETRY_COST, RetryBudget, backoff_seconds


def test_pauses_double_are_jittered_and_bounded() -> None:
    for tries, ceiling in ((1, 0.5), (2, 1.0), (3, 2.0), (30, MAX_SECONDS)):
        pauses = [backoff_seconds(tries) for _ in range(200)]
        assert all(ceiling / 2 <= pause <= ceiling for pause in pauses)
        assert max(pauses) > min(pauses)


def test_a_spent_budget_is_filled_by_answers() -> None:
    budget = RetryBudget()
    assert [budget.take() for _ in range(BUDGET // RETRY_COST + 1)] == [True] * (BUDGET // RETRY_COST) + [False]
    for _ in range(RETRY_COST - 1):
        budget.refund()
    assert not budget.take()
    budget.refund()
    assert budget.take()
