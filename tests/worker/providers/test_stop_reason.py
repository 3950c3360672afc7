"""Each stop reason leaves the answer complete or ends it in an error."""

from typing import get_args

from millrace.worker.providers.stop_reason import StopReason, failure_of


def test_each_stop_reason_is_complete_or_has_an_error_code() -> None:
    failures = {reason: failure_of(reason) for reason in get_args(StopReason)}
    assert {reason: failure.code for reason, failure in failures.items() if failure} == {
        "content_filtered": "content_filtered",
        "refused": "content_filtered",
        "context_exceeded": "context_too_long",
        "malformed": "provider_rejected",
    }
