"""The settings in named groups. Each field's metadata holds its variables, its parser and one line of documentation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.worker.settings import parsers

DEFAULT_MODEL = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
DEFAULT_DATABASE = "sqlite:///.millrace/millrace.db"  # in the default state directory of deploy/run.py


def setting(names: str, parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    """Declare a setting: its variables (the first one that is set wins), its parser, its default and one line of documentation."""
    return field(default=default, metadata={"names": names.split(), "parse": parse, "doc": doc})


_redis_url = parsers.url("redis", "rediss", "unix")
_auth = parsers.matching(
    r"session|header|jwt|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*",
    "session, header, jwt, or package.module:function",
)
_header_name = parsers.matching(r"[A-Za-z0-9-]{1,100}", "the name of a header: letters, digits, -")
_cookie_name = parsers.matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "the name of a cookie")


# fmt: off
@dataclass(frozen=True)
class RedisSettings:
    """Redis: the logs, the state and the queue."""

    url: str = setting("MILLRACE_REDIS_URL", _redis_url, "redis://127.0.0.1:6379/0", "the Redis that holds the logs")
    broker_url: str = setting("MILLRACE_BROKER_URL", _redis_url, "", "the Redis that Celery queues in; the same by default")

    @property
    def broker(self) -> str:
        """The broker's URL."""
        return self.broker_url or self.url


@dataclass(frozen=True)
class DatabaseSettings:
    """The SQL database."""

    url: str = setting("MILLRACE_DATABASE_URL", parsers.url("sqlite", "postgresql", "postgres"), DEFAULT_DATABASE, "the database that outlives the logs; a SQLite file has three slashes, and four from the root on")
    connections: int = setting("MILLRACE_DATABASE_CONNECTIONS", parsers.whole(1, 1000), 10, "connections of one process to PostgreSQL")
    seconds: float = setting("MILLRACE_DATABASE_SECONDS", parsers.seconds(0.1, 60), 2.0, "how long the database may take, waiting for a connection and for locks included")


@dataclass(frozen=True)
class ModelSettings:
    """The models, and the limits of a prompt's parameters."""

    model_id: str = setting("MILLRACE_MODEL_ID BEDROCK_MODEL_ID", parsers.text, DEFAULT_MODEL, "the model asked when a request names none")
    allowed: tuple[str, ...] = setting("MILLRACE_ALLOWED_MODELS", parsers.words, (), "further models that a request may name, by commas")
    small_model_id: str = setting("MILLRACE_SMALL_MODEL_ID", parsers.text, "", "the model for titles, suggestions, intent and learning; the configured one by default")
    system_prompt: str = setting("MILLRACE_SYSTEM_PROMPT", parsers.text, "", "instructions put before every conversation")
    allow_system: bool = setting("MILLRACE_ALLOW_SYSTEM", parsers.flag, False, "whether a request may add to the system prompt")
    max_tokens: int = setting("MILLRACE_MAX_TOKENS", parsers.whole(1, 1_000_000), 4096, "tokens of an answer when a request names no number, and the most it may name")
    prompt_caching: bool = setting("MILLRACE_PROMPT_CACHING", parsers.flag, True, "whether models that can are told to remember a conversation's beginning, so that each turn reads it at a lower price")

    @property
    def small(self) -> str:
        """The model for short calls beside an answer."""
        return self.small_model_id or self.model_id

    @property
    def names(self) -> tuple[str, ...]:
        """The models that a request may name, the default one first."""
        return (self.model_id, *(model for model in self.allowed if model != self.model_id))


@dataclass(frozen=True)
class BedrockSettings:
    """Amazon Bedrock."""

    region: str = setting("AWS_REGION AWS_DEFAULT_REGION", parsers.text, "us-east-1", "the region of Bedrock")
    endpoint_url: str = setting("MILLRACE_BEDROCK_ENDPOINT_URL", parsers.url("http", "https"), "", "another address for Bedrock, such as the local endpoint")
    read_seconds: float = setting("MILLRACE_BEDROCK_READ_SECONDS", parsers.seconds(1, 900), 120.0, "the longest silence of the model before `provider_timeout`")
    tries: int = setting("MILLRACE_BEDROCK_TRIES", parsers.whole(1, 10), 4, "how often a model is asked before its first delta, with backoff between")


@dataclass(frozen=True)
class ContextSettings:
    """The sources that a prompt is built from."""

    tokens: int = setting("MILLRACE_CONTEXT_TOKENS", parsers.whole(1000, 10_000_000), 150_000, "tokens that a prompt may have, as estimated, where the model takes as many; the oldest messages are left out first")
    sources: tuple[str, ...] = setting("MILLRACE_CONTEXT", parsers.import_paths, (), "sources of your own that an answer is built on, as package.module:name, by commas")
    seconds: float = setting("MILLRACE_CONTEXT_SECONDS", parsers.seconds(0.1, 60), 2.0, "how long an answer waits for history, profile and memories; then it goes on without")
    intent_schema: str = setting("MILLRACE_INTENT_SCHEMA", parsers.json_object, "", "a JSON schema, or the path of its file, by which the small model notes what each message is after; `intent` is the message's, all other properties are kept with the conversation")
    intent_seconds: float = setting("MILLRACE_INTENT_SECONDS", parsers.seconds(0.1, 60), 3.0, "how long an answer waits for that; then it goes on without")


@dataclass(frozen=True)
class SearchSettings:
    """Web search."""

    engine: Literal["", "searxng", "brave"] = setting("MILLRACE_SEARCH_ENGINE", parsers.choice("searxng", "brave"), "", "the web search: `searxng` or `brave`; none by default")
    url: str = setting("MILLRACE_SEARCH_URL", parsers.url("http", "https"), "", "the address of the SearXNG instance, or another one for Brave")
    key: str = setting("MILLRACE_SEARCH_KEY", parsers.text, "", "the key for Brave, or a bearer token for SearXNG behind a proxy that wants one")
    seconds: float = setting("MILLRACE_SEARCH_SECONDS", parsers.seconds(0.1, 60), 4.0, "how long an answer waits for the web search; then it goes on without")
    results: int = setting("MILLRACE_SEARCH_RESULTS", parsers.whole(1, 20), 5, "pages that an answer is built on")


@dataclass(frozen=True)
class GenerationSettings:
    """The life of a generation: lease, queue, attempts and bounds."""

    on_disconnect: Literal["continue", "cancel"] = setting("MILLRACE_ON_DISCONNECT", parsers.choice("continue", "cancel"), "continue", "what happens when nobody watches any more")
    disconnect_grace_seconds: float = setting("MILLRACE_DISCONNECT_GRACE_SECONDS", parsers.seconds(0, 3600), 60.0, "how long nobody may be watching before `cancel` acts")
    lease_seconds: float = setting("MILLRACE_LEASE_SECONDS", parsers.seconds(1, 300), 8.0, "how long a worker holds a generation without renewing")
    queue_seconds: float = setting("MILLRACE_QUEUE_SECONDS", parsers.seconds(1, 86_400), 120.0, "how long a generation may wait for a worker")
    max_attempts: int = setting("MILLRACE_MAX_ATTEMPTS", parsers.whole(1, 20), 3, "attempts that may be lost before `worker_lost`")
    takeover: Literal["restart", "continue"] = setting("MILLRACE_TAKEOVER", parsers.choice("restart", "continue"), "restart", "where the next worker begins: from the start, or from the text so far where the model goes on from it")
    max_seconds: float = setting("MILLRACE_MAX_SECONDS", parsers.seconds(1, 86_400), 900.0, "the longest that an answer may take")
    max_output_bytes: int = setting("MILLRACE_MAX_OUTPUT_BYTES", parsers.whole(1024, 1 << 28), 4 << 20, "the longest that an answer's text and reasoning may be, in bytes of UTF-8")
    max_events: int = setting("MILLRACE_MAX_EVENTS", parsers.whole(16, 10_000_000), 100_000, "the most events that an answer may have")
    log_ttl_seconds: float = setting("MILLRACE_LOG_TTL_SECONDS", parsers.seconds(1, 86_400), 3600.0, "how long a log is kept after `done`")


@dataclass(frozen=True)
class HookSettings:
    """Calls of the small model that follow an answer."""

    titles: bool = setting("MILLRACE_TITLES", parsers.flag, True, "whether a conversation is named after its first turn, by one call of the small model")
    suggestions: bool = setting("MILLRACE_SUGGESTIONS", parsers.flag, True, "whether three questions to ask next follow each answer, by one call of the small model")
    learning: bool = setting("MILLRACE_LEARNING", parsers.flag, True, "whether facts about the user are learned from each answer, by one call of the small model after its `done`")
    after_seconds: float = setting("MILLRACE_AFTER_SECONDS", parsers.seconds(0, 60), 3.0, "how long title and suggestions together may keep `done` waiting")


@dataclass(frozen=True)
class WorkerSettings:
    """The worker process."""

    consume_seconds: float = setting("MILLRACE_CONSUME_SECONDS", parsers.seconds(1, 3600), 60.0, "how long a worker that lives may consume nothing of the queue before it ends itself, to be started again")
    pulse_file: str = setting("MILLRACE_PULSE_FILE", parsers.text, "", "a file of a worker's own, written while it consumes; `python -m millrace.worker.upkeep.heartbeat_file` looks at it, and fails after 75 s without")
    flush_ms: int = setting("MILLRACE_FLUSH_MS", parsers.whole(0, 5000), 20, "milliseconds over which deltas are gathered into one event")
    flush_bytes: int = setting("MILLRACE_FLUSH_BYTES", parsers.whole(1, 1 << 20), 1024, "bytes of text after which an event is not gathered any further")
    buffer_bytes: int = setting("MILLRACE_BUFFER_BYTES", parsers.whole(64 << 10, 1 << 30), 1 << 20, "bytes of an answer that a worker keeps while Redis takes nothing; then it waits, and so does the model")
    shutdown_grace_seconds: float = setting("MILLRACE_SHUTDOWN_GRACE_SECONDS", parsers.seconds(0, 3600), 5.0, "how long what runs may go on after SIGTERM before it is handed over, and streams are ended")


@dataclass(frozen=True)
class RelaySettings:
    """The event streams of a web process."""

    wait_seconds: float = setting("MILLRACE_WAIT_SECONDS", parsers.seconds(0, 3600), 300.0, "how long `stream: false` waits before it answers 202")
    heartbeat_seconds: float = setting("MILLRACE_HEARTBEAT_SECONDS", parsers.seconds(0.1, 300), 15.0, "the time between an idle stream's comments")
    reader_stall_seconds: float = setting("MILLRACE_READER_STALL_SECONDS", parsers.seconds(1, 3600), 30.0, "how long a reader may take nothing before it is cut")
    max_readers: int = setting("MILLRACE_MAX_READERS", parsers.whole(1, 1_000_000), 10_000, "readers of one web process")
    max_follows: int = setting("MILLRACE_MAX_FOLLOWS", parsers.whole(1, 200), 50, "generations that one connection may follow; the address must hold them all")


@dataclass(frozen=True)
class AuthSettings:
    """Authentication and cookies."""

    method: str = setting("MILLRACE_AUTH", _auth, "session", "who is asking: `session`, `header`, `jwt`, or `package.module:function`")
    header: str = setting("MILLRACE_AUTH_HEADER", _header_name, "", "the header in which a trusted proxy names the owner; `header` needs it")
    secret_key: str = setting("MILLRACE_SECRET_KEY", parsers.text, "", "signs the session cookie; the web does not start without it where it keeps sessions")
    cookie_samesite: Literal["lax", "strict", "none"] = setting("MILLRACE_COOKIE_SAMESITE", parsers.choice("lax", "strict", "none"), "lax", "the session cookie's SameSite; `none` also makes it Secure")
    jwt_algorithm: str = setting("MILLRACE_JWT_ALGORITHM", parsers.choice("HS256", "RS256", "ES256", "EdDSA"), "", "the one algorithm of tokens that is taken: HS256, RS256, ES256, EdDSA; `jwt` needs it")
    jwt_issuer: str = setting("MILLRACE_JWT_ISSUER", parsers.text, "", "the tokens' `iss`; `jwt` needs it")
    jwt_audience: str = setting("MILLRACE_JWT_AUDIENCE", parsers.text, "", "what must be in the tokens' `aud`; `jwt` needs it")
    jwt_secret: str = setting("MILLRACE_JWT_SECRET", parsers.text, "", "the secret of HS256, 32 bytes or more")
    jwt_public_key: str = setting("MILLRACE_JWT_PUBLIC_KEY", parsers.text, "", "the public key of the other algorithms: PEM, or the path of its file")
    jwt_jwks_url: str = setting("MILLRACE_JWT_JWKS_URL", parsers.url("http", "https"), "", "where the identity provider publishes its keys, instead of one key")
    jwt_cookie: str = setting("MILLRACE_JWT_COOKIE", _cookie_name, "", "a cookie that holds the token where there is no Authorization header")


@dataclass(frozen=True)
class LimitSettings:
    """Limits on requests."""

    rate: str = setting("MILLRACE_RATE_LIMIT", parsers.rates, "60/minute", "how often one owner may ask, in flask-limiter's words, or off")
    address_rate: str = setting("MILLRACE_ADDRESS_RATE_LIMIT", parsers.rates, "600/minute", "how often one address may ask, whoever its users are; an IPv6 network of 64 bits is one")
    follow_rate: str = setting("MILLRACE_FOLLOW_RATE_LIMIT", parsers.rates, "1200/minute", "how often one owner may begin to follow")
    redis_url: str = setting("MILLRACE_RATE_LIMIT_REDIS_URL", _redis_url, "", "the Redis that counts for these limits; the one of the logs by default")
    max_active_per_user: int = setting("MILLRACE_MAX_ACTIVE_PER_USER", parsers.whole(1, 1_000_000), 5, "answers that one owner may have running at once")
    max_message_chars: int = setting("MILLRACE_MAX_MESSAGE_CHARS", parsers.whole(1, 10_000_000), 32_000, "characters of one message")
    max_messages: int = setting("MILLRACE_MAX_MESSAGES", parsers.whole(1, 10_000), 500, "messages of a stateless history")
    max_body_bytes: int = setting("MILLRACE_MAX_BODY_BYTES", parsers.whole(1024, 1 << 30), 1 << 20, "bytes of a request's body")


@dataclass(frozen=True)
class HttpSettings:
    """The web tier's surroundings: other origins and proxies."""

    allowed_origins: tuple[str, ...] = setting("MILLRACE_ALLOWED_ORIGINS", parsers.origins, (), "origins of other sites whose pages may call with their users' cookies, exact, by commas")
    trusted_proxies: int = setting("MILLRACE_TRUSTED_PROXIES", parsers.whole(0, 20), 0, "proxies in front whose X-Forwarded-For and -Proto are believed")
# fmt: on
