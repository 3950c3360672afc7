"""Contradictions between settings, checked in both tiers before anything starts."""

import json

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from millrace.worker.errors import SettingError
from millrace.worker.settings import parsers
from millrace.worker.settings.groups import AuthSettings, DatabaseSettings, RedisSettings, SearchSettings
from millrace.worker.settings.provider_groups import (
    OPENAI_URL,
    AnthropicSettings,
    BreakerSettings,
    GeminiSettings,
    OpenAISettings,
    ProviderSettings,
    RlmSettings,
)

_PINNED = ("jwt_algorithm", "jwt_issuer", "jwt_audience")
SECRET_BYTES = 32  # also of HS256: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_KEYS = ("jwt_secret", "jwt_public_key", "jwt_jwks_url")


def check_streams(redis: RedisSettings) -> None:
    """Raise SettingError where a node is the control Redis, or one that drains is not a node."""
    if any(url == redis.url for _, url in redis.stream_nodes):
        raise SettingError(
            "MILLRACE_STREAM_REDIS_URLS: names MILLRACE_REDIS_URL, which holds the generations without a node already"
        )
    unknown = sorted({*redis.draining} - {name for name, _ in redis.stream_nodes})
    if unknown:
        raise SettingError(f"MILLRACE_STREAM_DRAINING: {', '.join(unknown)} is not in MILLRACE_STREAM_REDIS_URLS")


def check_auth(auth: AuthSettings) -> None:
    """Raise SettingError where the method lacks a setting, a setting of another method is set, or the key is short.

    A setting without effect is rejected because the operator believes that it protects the system.
    """
    if auth.method == "header" and not auth.header:
        raise SettingError(
            "MILLRACE_AUTH_HEADER: is not set; MILLRACE_AUTH=header requires it. It names the header in which "
            "a trusted proxy passes the owner"
        )
    if auth.secret_key:
        try:
            parsers.secret_keys(auth.secret_key, SECRET_BYTES)
        except ValueError as error:
            raise SettingError(f"MILLRACE_SECRET_KEY: {error}; `openssl rand -hex 32` prints a good one") from error
    if auth.method == "jwt":
        _check_jwt(auth)
    used = {"header": ("header",), "jwt": ("jwt_",)}.get(auth.method, ())
    for name in ("header", *(each for each in AuthSettings.__dataclass_fields__ if each.startswith("jwt_"))):
        if getattr(auth, name) and not name.startswith(used):
            raise SettingError(f"{_variables(name)}: has no effect with MILLRACE_AUTH={auth.method}")


def _variables(*names: str, joined_by: str = ", ") -> str:
    """Return the variables of these fields of `AuthSettings`."""
    fields = AuthSettings.__dataclass_fields__
    return joined_by.join(fields[name].metadata["names"][0] for name in names)


def _check_jwt(auth: AuthSettings) -> None:
    missing = [name for name in _PINNED if not getattr(auth, name)]
    if missing:
        raise SettingError(f"{_variables(*missing)}: is not set; MILLRACE_AUTH=jwt requires it")
    wanted = ["jwt_secret"] if auth.jwt_algorithm == "HS256" else ["jwt_public_key", "jwt_jwks_url"]
    given = [name for name in _KEYS if getattr(auth, name)]
    if given not in ([name] for name in wanted):
        raise SettingError(
            f"{_variables(*wanted, joined_by=' or ')}: takes the key for {auth.jwt_algorithm}; set exactly one "
            f"of {_variables(*_KEYS)}, and for this algorithm no other one"
        )


def check_database(database: DatabaseSettings) -> None:
    """Raise SettingError where SQLite, which has no schemas, is given one."""
    if database.schema and database.url.startswith("sqlite"):
        raise SettingError("MILLRACE_DATABASE_SCHEMA: has no effect with SQLite; takes a schema of PostgreSQL")


def check_breaker(breaker: BreakerSettings) -> None:
    """Raise SettingError where the circuit breaker's open time is longer than its maximum."""
    if breaker.failures and breaker.max_open_seconds < breaker.open_seconds:
        raise SettingError(
            "MILLRACE_BREAKER_MAX_OPEN_SECONDS: takes at least MILLRACE_BREAKER_OPEN_SECONDS, "
            f"which is {breaker.open_seconds:g}"
        )


def check_search(search: SearchSettings) -> None:
    """Raise SettingError where the search engine lacks its URL or its key."""
    if search.engine == "searxng" and not search.url:
        raise SettingError(
            "MILLRACE_SEARCH_URL: is not set; MILLRACE_SEARCH_ENGINE=searxng requires the URL of the SearXNG instance"
        )
    if search.engine == "brave" and not search.key:
        raise SettingError("MILLRACE_SEARCH_KEY: is not set; MILLRACE_SEARCH_ENGINE=brave requires the API key")


def check_intent_schema(schema: str) -> None:
    """Raise SettingError where the intent schema is set and is not a JSON schema."""
    if not schema:
        return
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        raise SettingError(f"MILLRACE_INTENT_SCHEMA: is not a JSON schema: {error.message}") from error


def check_providers(
    providers: ProviderSettings,
    openai: OpenAISettings,
    gemini: GeminiSettings,
    anthropic: AnthropicSettings,
    rlm: RlmSettings,
) -> None:
    """Raise SettingError where a provider in use lacks its model, its key or its URL."""
    required = {
        "openai": {"MILLRACE_OPENAI_API_KEY": openai.api_key or openai.base_url != OPENAI_URL},
        "gemini": {"MILLRACE_GEMINI_API_KEY": gemini.api_key},
        "anthropic": {"MILLRACE_ANTHROPIC_API_KEY": anthropic.api_key},
        "rlm": {"MILLRACE_RLM_URL": rlm.url},
    }
    for provider in providers.order:
        for name, value in required.get(provider, {}).items():
            if not value:
                raise SettingError(f"{name}: is not set; {provider} in MILLRACE_PROVIDERS requires it")
    _check_fields(rlm)


def _check_fields(rlm: RlmSettings) -> None:
    """Raise SettingError where two parts of a request to the upstream service would be in one field."""
    used: dict[str, str] = {}
    for name in ("message", "history", "profile", "system"):
        path, variable = getattr(rlm, f"{name}_field"), f"MILLRACE_RLM_{name.upper()}_FIELD"
        for other, owner in used.items():
            if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                raise SettingError(f"{variable}: takes a field that is not part of {owner}, nor holds it; {path} does")
        if path:
            used[path] = variable
