"""The mapping from Anthropic's errors, in a response or within a stream, to error codes. Pure.

https://docs.claude.com/en/api/errors
"""

from typing import Any

from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.members import Members
from millrace.worker.providers.transport.errors import Rejection, is_overflow, message_of, retry_after

# The code of an error's type, whether the user may retry, and whether the worker may.
ERROR_TYPES: dict[str, tuple[ErrorCode, bool, bool]] = {
    "invalid_request_error": ("provider_rejected", False, False),
    "authentication_error": ("provider_authentication", False, False),
    "billing_error": ("provider_authentication", False, False),  # the operator's account has run out of money
    "permission_error": ("provider_authentication", False, False),
    "not_found_error": ("provider_rejected", False, False),
    "request_too_large": ("context_too_long", False, False),
    "rate_limit_error": ("provider_throttled", True, True),
    "timeout_error": ("provider_timeout", True, False),  # a retry would wait as long again
    "api_error": ("provider_unavailable", True, True),
    "overloaded_error": ("provider_unavailable", True, True),
}

# An `invalid_request_error` has one type for faults of the request, of the account and of the answer.
_FILTERED = "content filter"  # "Output blocked by content filtering policy"
_UNPAID = "credit balance"  # "Your credit balance is too low to access the Anthropic API. …"
# In an error's details: the operator's account is out of money, on hold, or cannot use its own key of encryption. The
# status is 400, 402 or even 429, and waiting does not help.
OF_THE_ACCOUNT = (
    *("contract_spend_limit_reached", "enforced_spend_limit_reached", "organization_on_hold"),
    *("linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"),
    *("cmek_key_disabled", "cmek_key_network_blocked"),
)


def map_rejection(rejection: Rejection) -> ProviderError | None:
    """Return the error of a response that is not 2xx, None if its status decides."""
    if _is_of_the_account(rejection.fields):
        return ProviderError("provider_authentication", retryable=False)
    kind = rejection.fields.get("type")
    # Gateways name any error of theirs an `api_error`.
    is_general = kind == "api_error" and rejection.status != 400
    if rejection.status < 400 or not isinstance(kind, str) or kind not in ERROR_TYPES or is_general:
        return None
    error = _map_error(kind, rejection.message, retry_after(rejection.headers))
    return None if error.code == "provider_rejected" else error


def map_stream_error(error: Members) -> ProviderError:
    """Return the error of an event; one of an unknown type counts as unavailable, because the request was accepted."""
    if _is_of_the_account(error):
        return ProviderError("provider_authentication", retryable=False)
    kind = error.get("type")
    return _map_error(kind if isinstance(kind, str) else "", message_of(error), None)


def may_refuse_feature(error: ProviderError) -> bool:
    """Return whether the request may have been rejected for one of its features, and not for the rest of it.

    A rejection has no member that names the feature.
    """
    return error.code == "provider_rejected" and not error.refuses_streaming


def _is_of_the_account(error: Members) -> bool:
    details: Any = error.get("details")
    return isinstance(details, dict) and details.get("error_code") in OF_THE_ACCOUNT


def _map_error(kind: str, message: str, seconds: float | None) -> ProviderError:
    code, retryable, is_transient = ERROR_TYPES.get(kind, ERROR_TYPES["api_error"])
    if code == "provider_rejected":
        if _FILTERED in message.lower():
            code = "content_filtered"
        elif _UNPAID in message.lower():
            code = "provider_authentication"
        elif is_overflow(message):
            code = "context_too_long"
    return ProviderError(
        code, retryable=retryable, is_transient=is_transient, retry_after=seconds if is_transient else None
    )
