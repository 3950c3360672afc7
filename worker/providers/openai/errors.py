"""The mapping from OpenAI's errors, and those of servers with its API, to error codes. Pure.

https://platform.openai.com/docs/guides/error-codes
https://openrouter.ai/docs/api-reference/errors
https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter
"""

import re
from typing import Any

from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.members import Members
from millrace.worker.providers.openai.arguments import Feature
from millrace.worker.providers.transport.errors import (
    Rejection,
    is_overflow,
    is_streaming_refusal,
    map_status,
    message_of,
    retry_after,
)

# The code of an error, whether the user may retry, and whether the worker may. Servers use `code` and `type` alike.
_BY_CODE: dict[str, tuple[ErrorCode, bool, bool]] = {
    **dict.fromkeys(
        (
            *("content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt"),
            *("ResponsibleAIPolicyViolation", "data_inspection_failed", "DataInspectionFailed"),
            *("bio_policy", "cyber_policy", "misalignment_policy_violation", "image_content_policy_violation"),
        ),
        ("content_filtered", False, False),
    ),
    **dict.fromkeys(
        ("context_length_exceeded", "string_above_max_length", "exceed_context_size_error"),
        ("context_too_long", False, False),
    ),
    # The operator's account has run out of money: no retry helps, and no user can do anything.
    **dict.fromkeys(
        (
            *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"),
            *("credit_balance_exhausted", "project_spend_limit_exceeded", "organization_spend_limit_exceeded"),
            "organization_usage_limit_exceeded",
            *("invalid_api_key", "token_expired", "authentication_error", "permission_error"),
        ),
        ("provider_authentication", False, False),
    ),
    **dict.fromkeys(
        ("rate_limit_exceeded", "rate_limit_error", "requests", "tokens", "too_many_requests"),
        ("provider_throttled", True, True),
    ),
    **dict.fromkeys(
        (
            *("server_error", "internal_error", "internal_server_error", "service_unavailable", "overloaded_error"),
            *("engine_overloaded", "api_error", "vector_store_timeout", "server_overloaded", "flex_unavailable"),
        ),
        ("provider_unavailable", True, True),
    ),
    **dict.fromkeys(
        (
            *("invalid_request_error", "model_not_found", "unsupported_value", "unsupported_parameter"),
            *("invalid_value", "data_residency_mismatch"),
        ),
        ("provider_rejected", False, False),
    ),
}

# Words by which a rejection names a feature of the request; the first match counts.
_REFUSALS: tuple[tuple[Feature, re.Pattern[str]], ...] = (
    ("usage", re.compile("stream_options|include_usage")),
    ("schema", re.compile("response_format|json_schema|text\\.format|structured output|guided", re.IGNORECASE)),
    ("forced_tool", re.compile("tool_?choice|\\btools?\\b|function call", re.IGNORECASE)),
    ("stop", re.compile("\\bstop\\b")),
)
_UNSUPPORTED = re.compile(
    "unsupported|not supported|n't support|not support|not available|unrecogni|unknown|unexpected|extra|not permitted"
    "|not allowed",
    re.IGNORECASE,
)
_LIMIT = re.compile("max_completion_tokens|max_tokens")
_FEATURE_STATUSES = (400, 404, 405, 422, 501)


class FeatureRefused(ProviderError):
    """A request was rejected because of one of its features; `is_general`: so is every request with this feature."""

    def __init__(self, feature: Feature, *, is_general: bool) -> None:
        super().__init__("provider_rejected", retryable=False)
        self.feature: Feature = feature
        self.is_general = is_general


def map_rejection(rejection: Rejection) -> ProviderError | None:
    """Return the error of a response that is not 2xx, None if its status decides."""
    fields, message = rejection.fields, rejection.message
    known = _find_known(fields)
    if known and known[0] not in ("provider_rejected", "provider_unavailable"):
        code, retryable, is_transient = known
        seconds = retry_after(rejection.headers) if is_transient else None
        return ProviderError(code, retryable=retryable, is_transient=is_transient, retry_after=seconds)
    if isinstance(fields.get("metadata"), dict) and "flagged_input" in fields["metadata"]:  # OpenRouter's, with 403
        return ProviderError("content_filtered", retryable=False)
    if rejection.status in _FEATURE_STATUSES and not is_streaming_refusal(message):
        feature = _refused_feature(fields.get("param"), message)
        if feature:
            return FeatureRefused(feature, is_general=bool(_UNSUPPORTED.search(message)))
    return None


def map_stream_error(error: Members) -> ProviderError:
    """Return the error of an error object within a stream, whose status was 200."""
    known = _find_known(error)
    if known and known[0] != "provider_rejected":
        return ProviderError(known[0], retryable=known[1], is_transient=known[2])
    status = _find_status(error)
    mapped = map_status(status) if status else ProviderError("provider_unavailable", retryable=True, is_transient=True)
    if (known or mapped.code == "provider_rejected") and is_overflow(message_of(error)):
        return ProviderError("context_too_long", retryable=False)
    return ProviderError("provider_rejected", retryable=False) if known and not status else mapped


def _find_known(error: Members) -> tuple[ErrorCode, bool, bool] | None:
    inner: Any = error.get("innererror")
    places: list[Any] = [error.get("code"), inner.get("code") if isinstance(inner, dict) else None, error.get("type")]
    return next((_BY_CODE[each] for each in places if isinstance(each, str) and each in _BY_CODE), None)


def _find_status(error: Members) -> int:
    for name in ("status", "code", "status_code"):
        value: Any = error.get(name)
        if isinstance(value, str) and re.fullmatch("[345][0-9]{2}", value, re.ASCII):
            return int(value)
        if type(value) is int and 300 <= value <= 599:
            return value
    return 0


def _refused_feature(param: Any, message: str) -> Feature | None:
    """Return the feature that a rejection names, in its member `param` or in its words."""
    named = param if isinstance(param, str) else ""
    limit = _LIMIT.search(named) or _LIMIT.search(message)
    if limit and _UNSUPPORTED.search(message):  # a limit that is too large is another matter
        return "max_tokens" if limit[0] == "max_tokens" else "max_completion_tokens"
    for text in (named, message):
        feature = next((feature for feature, pattern in _REFUSALS if pattern.search(text)), None)
        if feature:
            return feature
    return None
