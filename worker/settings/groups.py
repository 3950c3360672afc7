"""The settings of Millrace itself, in named groups; those of the providers are in `provider_groups.py`."""

from dataclasses import dataclass
from typing import Literal

from millrace.worker.settings import parsers
from millrace.worker.settings.api_keys import api_keys
from millrace.worker.settings.catalog import DEFAULT_MODEL, GivenModel, parse_models
from millrace.worker.settings.declaration import setting
from millrace.worker.settings.redis_url import redis_url
from millrace.worker.settings.stream_nodes import parse_stream_nodes

DEFAULT_DATABASE = "sqlite:///.millrace/millrace.db"  # in the default state directory of deploy/run.py

DEFAULT_ASSETS = ".millrace/assets"  # likewise

_auth = parsers.matching(
    r"session|header|jwt|host|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*",
    "session, header, jwt, host, or package.module:function",
)
_schema_name = parsers.matching(
    r"(?!pg_)[a-z_][a-z0-9_]{0,62}", "the name of a schema: lower-case letters, digits, _, and not pg_ at its beginning"
)
_header_name = parsers.matching(r"[A-Za-z0-9-]{1,100}", "the name of a header: letters, digits, -")
_cookie_name = parsers.matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "the name of a cookie")


# fmt: off
@dataclass(frozen=True)
class RedisSettings:
    """Redis: logs, state and queue."""

    url: str = setting("MILLRACE_REDIS_URL", redis_url, "redis://127.0.0.1:6379/0", "URL of the Redis that holds logs and state")
    broker_url: str = setting("MILLRACE_BROKER_URL", redis_url, "", "URL of the Redis that holds Celery's queues; by default `MILLRACE_REDIS_URL`")

    stream_nodes: tuple[tuple[str, str], ...] = setting("MILLRACE_STREAM_REDIS_URLS", parse_stream_nodes, (), "Redis servers that hold the generations beside `MILLRACE_REDIS_URL`, as `NAME=URL` separated by commas; a name has one or two characters of a-z and 0-9 and never changes its server")
    draining: tuple[str, ...] = setting("MILLRACE_STREAM_DRAINING", parsers.words, (), "names of stream nodes that get no new generations, separated by commas")
    lost_seconds: float = setting("MILLRACE_STREAM_LOST_SECONDS", parsers.seconds(1, 3600), 60.0, "time without an answer after which a stream node's generations are given up: their readers get an error, and their conversations are free")

    @property
    def broker(self) -> str:
        """The broker's URL."""
        return self.broker_url or self.url


@dataclass(frozen=True)
class DatabaseSettings:
    """The SQL database."""

    url: str = setting("MILLRACE_DATABASE_URL", parsers.url("sqlite", "postgresql", "postgres"), DEFAULT_DATABASE, "URL of the database that outlives the logs; a SQLite URL has three slashes before a relative path and four before an absolute one")
    schema: str = setting("MILLRACE_DATABASE_SCHEMA", _schema_name, "", "PostgreSQL schema that holds the tables, made where it is missing; by default the first of the role's `search_path`, usually `public`")
    connections: int = setting("MILLRACE_DATABASE_CONNECTIONS", parsers.whole(1, 1000), 10, "maximum number of PostgreSQL connections per process")
    seconds: float = setting("MILLRACE_DATABASE_SECONDS", parsers.seconds(0.1, 60), 2.0, "time limit of a database transaction, including the wait for a connection and for locks")
    retention_days: int = setting("MILLRACE_RETENTION_DAYS", parsers.whole(0, 36_500), 0, "days after which a conversation without a new question, answer or title is deleted with its images, and a memory after it was learned; 0 keeps both until they are deleted, and `millrace-data retain` sets other days for an owner")


@dataclass(frozen=True)
class ModelSettings:
    """The models, and the limits of a prompt's parameters."""

    model_id: str = setting("MILLRACE_MODEL_ID BEDROCK_MODEL_ID", parsers.text, "", f"model used when a request names none; by default `{DEFAULT_MODEL}`, or without Bedrock the first provider's model")
    allowed: tuple[str, ...] = setting("MILLRACE_ALLOWED_MODELS", parsers.words, (), "further models that a request may name, separated by commas: names of the catalog, ids of the first provider's models, or `PROVIDER/ID`")
    small_model_id: str = setting("MILLRACE_SMALL_MODEL_ID", parsers.text, "", "model for titles, suggestions, intent and learning; by default the configured model")
    system_prompt: str = setting("MILLRACE_SYSTEM_PROMPT", parsers.text, "", "system prompt of every conversation")
    allow_system: bool = setting("MILLRACE_ALLOW_SYSTEM", parsers.flag, False, "whether a request may extend the system prompt")
    max_tokens: int = setting("MILLRACE_MAX_TOKENS", parsers.whole(1, 1_000_000), 4096, "default and maximum of a request's `max_tokens`")
    catalog: tuple[tuple[str, GivenModel], ...] = setting("MILLRACE_MODELS", parse_models, (), "models that are merged over the built-in catalog, as JSON or the path of a JSON file: `{name: {candidates: [{provider, id, price}], price, like, window, caching, sampling, blank_stop_sequences, tools, prefill, schema}}`, each optional; `like` is the id of a model with the same traits")
    price_list: Literal["", "genai-prices"] = setting("MILLRACE_PRICE_LIST", parsers.choice("genai-prices"), "", "package that lists the prices of models without one in `MILLRACE_MODELS`: `genai-prices`, of the extra `prices`; none by default")
    prompt_caching: bool = setting("MILLRACE_PROMPT_CACHING", parsers.flag, True, "whether prompts are cached by models that can, so that each turn reads the conversation at a lower price")


@dataclass(frozen=True)
class ContextSettings:
    """The sources that a prompt is built from."""

    tokens: int = setting("MILLRACE_CONTEXT_TOKENS", parsers.whole(1000, 10_000_000), 150_000, "maximum size of a prompt in estimated tokens, where the model's window allows it; the oldest messages are left out first")
    sources: tuple[str, ...] = setting("MILLRACE_CONTEXT", parsers.import_paths, (), "your own context sources as `package.module:name`, separated by commas")
    seconds: float = setting("MILLRACE_CONTEXT_SECONDS", parsers.seconds(0.1, 60), 2.0, "maximum wait for history, profile and memories; an answer continues without those that are late")
    intent_schema: str = setting("MILLRACE_INTENT_SCHEMA", parsers.json_object, "", "JSON schema, or the path of its file, that the small model fills in for each message; `intent` belongs to the message, all other properties to the conversation")
    intent_seconds: float = setting("MILLRACE_INTENT_SECONDS", parsers.seconds(0.1, 60), 3.0, "maximum wait for the intent; an answer continues without it")


@dataclass(frozen=True)
class SearchSettings:
    """Web search."""

    engine: Literal["", "searxng", "brave"] = setting("MILLRACE_SEARCH_ENGINE", parsers.choice("searxng", "brave"), "", "web search engine: `searxng` or `brave`; none by default")
    url: str = setting("MILLRACE_SEARCH_URL", parsers.url("http", "https"), "", "URL of the SearXNG instance, or an alternative endpoint for Brave")
    key: str = setting("MILLRACE_SEARCH_KEY", parsers.text, "", "API key for Brave, or a bearer token for SearXNG behind a proxy that requires one")
    seconds: float = setting("MILLRACE_SEARCH_SECONDS", parsers.seconds(0.1, 60), 4.0, "maximum wait for the web search; an answer continues without it")
    results: int = setting("MILLRACE_SEARCH_RESULTS", parsers.whole(1, 20), 5, "number of web pages in a prompt")


@dataclass(frozen=True)
class GenerationSettings:
    """A generation: queue, lease, attempts and limits."""

    on_disconnect: Literal["continue", "cancel"] = setting("MILLRACE_ON_DISCONNECT", parsers.choice("continue", "cancel"), "continue", "whether a generation without readers continues or is cancelled")
    disconnect_grace_seconds: float = setting("MILLRACE_DISCONNECT_GRACE_SECONDS", parsers.seconds(0, 3600), 60.0, "time without readers before `cancel` takes effect")
    lease_seconds: float = setting("MILLRACE_LEASE_SECONDS", parsers.seconds(1, 300), 8.0, "duration of a worker's lease without a renewal")
    queue_seconds: float = setting("MILLRACE_QUEUE_SECONDS", parsers.seconds(1, 86_400), 120.0, "maximum wait of a generation for a worker")
    max_attempts: int = setting("MILLRACE_MAX_ATTEMPTS", parsers.whole(1, 20), 3, "number of lost attempts after which a generation ends with `worker_lost`")
    takeover: Literal["restart", "continue"] = setting("MILLRACE_TAKEOVER", parsers.choice("restart", "continue"), "restart", "whether the next worker starts the answer again or continues from the text so far, where the model supports it")
    max_seconds: float = setting("MILLRACE_MAX_SECONDS", parsers.seconds(1, 86_400), 900.0, "maximum duration of an answer")
    max_output_bytes: int = setting("MILLRACE_MAX_OUTPUT_BYTES", parsers.whole(1024, 1 << 28), 4 << 20, "maximum size of an answer's text and reasoning in bytes of UTF-8")
    max_events: int = setting("MILLRACE_MAX_EVENTS", parsers.whole(16, 10_000_000), 100_000, "maximum number of events of an answer")
    log_ttl_seconds: float = setting("MILLRACE_LOG_TTL_SECONDS", parsers.seconds(1, 86_400), 3600.0, "lifetime of a log after its `done`")


@dataclass(frozen=True)
class ImageSettings:
    """Images that models make."""

    directory: str = setting("MILLRACE_IMAGE_DIR", parsers.directory, "", "directory that workers and web processes share, in which the images of answers are kept; without one, an answer's images are left out")
    max_bytes: int = setting("MILLRACE_MAX_IMAGE_BYTES", parsers.whole(1024, 1 << 30), 32 << 20, "maximum size of all images of an answer together in bytes; those beyond it are left out")


@dataclass(frozen=True)
class HookSettings:
    """Calls of the small model after an answer."""

    titles: bool = setting("MILLRACE_TITLES", parsers.flag, True, "whether the small model titles a conversation after its first turn")
    suggestions: bool = setting("MILLRACE_SUGGESTIONS", parsers.flag, True, "whether the small model suggests three next questions after each answer")
    learning: bool = setting("MILLRACE_LEARNING", parsers.flag, True, "whether the small model learns facts about the user from each answer, after its `done`")
    after_seconds: float = setting("MILLRACE_AFTER_SECONDS", parsers.seconds(0, 60), 3.0, "maximum delay of `done` by title and suggestions together")


@dataclass(frozen=True)
class WorkerSettings:
    """The worker process."""

    consume_seconds: float = setting("MILLRACE_CONSUME_SECONDS", parsers.seconds(1, 3600), 60.0, "time without consuming from the queue after which a worker exits, to be restarted")
    pulse_file: str = setting("MILLRACE_PULSE_FILE", parsers.text, "", "heartbeat file of a worker, written while it consumes; `python -m millrace.worker.upkeep.heartbeat_file` checks it and fails after 75 s without an update")
    flush_ms: int = setting("MILLRACE_FLUSH_MS", parsers.whole(0, 5000), 20, "milliseconds over which deltas are gathered into one event")
    flush_bytes: int = setting("MILLRACE_FLUSH_BYTES", parsers.whole(1, 1 << 20), 1024, "bytes of text after which an event is sent at once")
    buffer_bytes: int = setting("MILLRACE_BUFFER_BYTES", parsers.whole(64 << 10, 1 << 30), 1 << 20, "bytes of an answer that a worker buffers while Redis is unavailable; beyond that it stops reading from the model")
    metrics_port: int = setting("MILLRACE_METRICS_PORT", parsers.whole(0, 65535), 0, "port at which a worker serves `/metrics`; 0 serves none. Each worker process on a machine needs one of its own")
    metrics_address: str = setting("MILLRACE_METRICS_ADDRESS", parsers.address, "127.0.0.1", "IP address at which a worker serves `/metrics`; `0.0.0.0` or `::` for all, as in a container, where only `MILLRACE_METRICS_TOKEN` lets other machines in")
    shutdown_grace_seconds: float = setting("MILLRACE_SHUTDOWN_GRACE_SECONDS", parsers.seconds(0, 3600), 5.0, "time after SIGTERM before running generations are handed over and streams are closed")


@dataclass(frozen=True)
class RelaySettings:
    """The event streams of a web process."""

    wait_seconds: float = setting("MILLRACE_WAIT_SECONDS", parsers.seconds(0, 3600), 50.0, "maximum wait of a `stream: false` request before it returns 202 with `Location`; shorter than the read limit of every proxy in front, which is often 60 s")
    heartbeat_seconds: float = setting("MILLRACE_HEARTBEAT_SECONDS", parsers.seconds(0.1, 300), 15.0, "interval of the heartbeats of a stream")
    compression: Literal["off", "gzip"] = setting("MILLRACE_COMPRESSION", parsers.choice("off", "gzip"), "off", "`gzip` compresses the event streams of clients that accept it, without holding events back: two fifths of the bytes, for 30 to 40 % more CPU of the web tier")
    reader_stall_seconds: float = setting("MILLRACE_READER_STALL_SECONDS", parsers.seconds(1, 3600), 30.0, "time after which a reader that accepts no data is disconnected")
    max_readers: int = setting("MILLRACE_MAX_READERS", parsers.whole(1, 1_000_000), 10_000, "maximum number of readers per web process")
    max_readers_per_user: int = setting("MILLRACE_MAX_READERS_PER_USER", parsers.whole(1, 1_000_000), 200, "maximum number of readers of one owner per web process")
    max_readers_per_address: int = setting("MILLRACE_MAX_READERS_PER_ADDRESS", parsers.whole(1, 1_000_000), 1000, "maximum number of readers of one address per web process")
    max_waiters: int = setting("MILLRACE_MAX_WAITERS", parsers.whole(1, 1_000_000), 500, "maximum number of requests per web process that wait for a whole answer, such as those with `stream: false`")
    max_follows: int = setting("MILLRACE_MAX_FOLLOWS", parsers.whole(1, 200), 50, "maximum number of generations that one connection follows; the URL must hold all their ids")


@dataclass(frozen=True)
class AuthSettings:
    """Authentication and cookies."""

    method: str = setting("MILLRACE_AUTH", _auth, "session", "authentication method: `session`, `header`, `jwt`, `package.module:function`, or `host` (the host application's `Millrace(owner=…)`)")
    header: str = setting("MILLRACE_AUTH_HEADER", _header_name, "", "header in which a trusted proxy passes the owner; required by `header`")
    secret_key: str = setting("MILLRACE_SECRET_KEY", parsers.text, "", "key that signs the session cookie, 32 bytes or more; of several keys, separated by commas, the first signs and all verify; required by the web tier where it keeps sessions")
    api_keys: str = setting("MILLRACE_API_KEYS", api_keys, "", "API keys of programs, in addition to the method: the path of a file that `deploy/keys.py` writes, or `[{sha256, owner}]` in JSON; the file is read again when it changes")
    cookie_samesite: Literal["lax", "strict", "none"] = setting("MILLRACE_COOKIE_SAMESITE", parsers.choice("lax", "strict", "none"), "lax", "SameSite attribute of the session cookie; `none` also sets Secure")
    jwt_algorithm: str = setting("MILLRACE_JWT_ALGORITHM", parsers.choice("HS256", "RS256", "ES256", "EdDSA"), "", "the only accepted algorithm of tokens: HS256, RS256, ES256 or EdDSA; required by `jwt`")
    jwt_issuer: str = setting("MILLRACE_JWT_ISSUER", parsers.text, "", "required `iss` of tokens; required by `jwt`")
    jwt_audience: str = setting("MILLRACE_JWT_AUDIENCE", parsers.text, "", "value that must be in the `aud` of tokens; required by `jwt`")
    jwt_secret: str = setting("MILLRACE_JWT_SECRET", parsers.text, "", "secret of HS256, 32 bytes or more")
    jwt_public_key: str = setting("MILLRACE_JWT_PUBLIC_KEY", parsers.text, "", "public key of the other algorithms, as PEM or the path of its file")
    jwt_jwks_url: str = setting("MILLRACE_JWT_JWKS_URL", parsers.url("http", "https"), "", "URL where the identity provider publishes its keys, instead of one public key")
    jwt_cookie: str = setting("MILLRACE_JWT_COOKIE", _cookie_name, "", "cookie that holds the token when a request has no Authorization header")


@dataclass(frozen=True)
class LimitSettings:
    """Limits on requests."""

    rate: str = setting("MILLRACE_RATE_LIMIT", parsers.rates, "60/minute", "rate limit per owner for creating generations, in flask-limiter's notation, or `off`")
    address_rate: str = setting("MILLRACE_ADDRESS_RATE_LIMIT", parsers.rates, "600/minute", "the same per address, for all its users together; an IPv6 /64 network counts as one address")
    new_owner_rate: str = setting("MILLRACE_NEW_OWNER_RATE_LIMIT", parsers.rates, "120/minute;1200/hour", "rate limit per address for new anonymous owners (`MILLRACE_AUTH=session`)")
    follow_rate: str = setting("MILLRACE_FOLLOW_RATE_LIMIT", parsers.rates, "1200/minute", "rate limit per owner for opening streams")
    address_follow_rate: str = setting("MILLRACE_ADDRESS_FOLLOW_RATE_LIMIT", parsers.rates, "12000/minute", "the same per address")
    read_rate: str = setting("MILLRACE_READ_RATE_LIMIT", parsers.rates, "1200/minute", "rate limit per owner for reading, such as pages of messages")
    address_read_rate: str = setting("MILLRACE_ADDRESS_READ_RATE_LIMIT", parsers.rates, "6000/minute", "the same per address")
    write_rate: str = setting("MILLRACE_WRITE_RATE_LIMIT", parsers.rates, "300/minute", "rate limit per owner for renaming, deleting and cancelling")
    address_write_rate: str = setting("MILLRACE_ADDRESS_WRITE_RATE_LIMIT", parsers.rates, "3000/minute", "the same per address")
    redis_url: str = setting("MILLRACE_RATE_LIMIT_REDIS_URL", redis_url, "", "URL of the Redis that counts for the rate limits; by default `MILLRACE_REDIS_URL`")
    max_active_per_user: int = setting("MILLRACE_MAX_ACTIVE_PER_USER", parsers.whole(1, 1_000_000), 5, "maximum number of generations that one owner may have running")
    max_active_per_address: int = setting("MILLRACE_MAX_ACTIVE_PER_ADDRESS", parsers.whole(1, 1_000_000), 50, "maximum number of generations that all users of one address together may have running")
    max_requests_per_address: int = setting("MILLRACE_MAX_REQUESTS_PER_ADDRESS", parsers.whole(1, 1_000_000), 1, "maximum number of requests of one address that a web process works on at once while other addresses ask as well; its others wait in order")
    max_message_chars: int = setting("MILLRACE_MAX_MESSAGE_CHARS", parsers.whole(1, 10_000_000), 32_000, "maximum length of a message in characters")
    max_messages: int = setting("MILLRACE_MAX_MESSAGES", parsers.whole(1, 10_000), 500, "maximum number of messages in a stateless history")
    body_seconds: float = setting("MILLRACE_BODY_SECONDS", parsers.seconds(1, 3600), 30.0, "time limit for a request's headers, and again for its body; a body that is later gets 408")
    max_page_bytes: int = setting("MILLRACE_MAX_PAGE_BYTES", parsers.whole(1024, 1 << 30), 1 << 20, "maximum size in bytes of a page of messages, unless its only message is larger; the page then holds fewer than `limit`")
    max_unsent_bytes: int = setting("MILLRACE_MAX_UNSENT_BYTES", parsers.whole(1 << 20, 1 << 40), 64 << 20, "maximum size in bytes of all responses of a web process that clients have not read yet; beyond it the client that has read nothing for longest is cut off")
    max_body_bytes: int = setting("MILLRACE_MAX_BODY_BYTES", parsers.whole(1024, 1 << 30), 1 << 20, "maximum size of a request body in bytes")


@dataclass(frozen=True)
class HttpSettings:
    """Names and proxies in front of the web tier, other origins, and access to the metrics."""

    allowed_origins: tuple[str, ...] = setting("MILLRACE_ALLOWED_ORIGINS", parsers.origins, (), "origins of other sites whose pages may call with their users' cookies: exact, separated by commas")
    trusted_proxies: int = setting("MILLRACE_TRUSTED_PROXIES", parsers.whole(0, 20), 0, "number of proxies in front of the web tier whose X-Forwarded-For, -Proto and -Prefix are trusted")
    allowed_hosts: tuple[str, ...] = setting("MILLRACE_ALLOWED_HOSTS", parsers.hosts, (), "host names that the web tier answers to, separated by commas and without ports; any by default. The health checks answer to every name")
    metrics_token: str = setting("MILLRACE_METRICS_TOKEN", parsers.matching(r"[!-~]{16,}", "16 or more ASCII characters without spaces"), "", "bearer token for `/metrics`, also of a worker, for `/metrics/cluster` and for the details of `/readyz`; without it only clients that connect directly from the same machine get them, and a mount has no `/metrics`")
    beacon: bool = setting("MILLRACE_BEACON", parsers.flag, False, "whether the page reports, for each answer, how long it took and how long the page was visible meanwhile; without any text or id")
    assets_directory: str = setting("MILLRACE_ASSETS_DIR", parsers.text, DEFAULT_ASSETS, "directory into which `millrace-assets` installs the page's libraries for markdown, code and math; without them the page shows plain text")
# fmt: on
