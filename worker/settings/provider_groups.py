"""The settings of the providers, in named groups."""

from dataclasses import dataclass
from typing import Literal

from millrace.worker.settings import parsers
from millrace.worker.settings.catalog import ProviderName, provider_names
from millrace.worker.settings.declaration import setting

OPENAI_URL = "https://api.openai.com/v1"
GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta"
ANTHROPIC_URL = "https://api.anthropic.com"

_http_url = parsers.url("http", "https")

# The members of a request that Millrace sets itself, from the question and from other settings; a test holds each list.
_OF_OPENAI = (
    *("model", "messages", "input", "instructions", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("max_output_tokens", "temperature", "top_p", "stop", "n", "tools", "tool_choice", "response_format"),
    "text.format",
)
_OF_GEMINI = (
    *("model", "contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "tool_config"),
    *("generation_config", "generationConfig.maxOutputTokens", "generationConfig.temperature", "generationConfig.topP"),
    *("generationConfig.stopSequences", "generationConfig.candidateCount", "generationConfig.responseMimeType"),
    *("generationConfig.responseJsonSchema", "generationConfig.responseSchema"),
)
_OF_ANTHROPIC = (
    *("model", "messages", "system", "stream", "max_tokens", "temperature", "top_p", "stop_sequences", "tools"),
    *("tool_choice", "output_config.format", "output_format"),
)


# fmt: off
@dataclass(frozen=True)
class ProviderSettings:
    """All providers: their order, time limits and tries."""

    order: tuple[ProviderName, ...] = setting("MILLRACE_PROVIDERS", provider_names, ("bedrock",), "providers in the order in which they are tried, separated by commas: `bedrock`, `bedrock-invoke`, `openai`, `gemini`, `anthropic`, `rlm`")
    start_seconds: float = setting("MILLRACE_START_SECONDS", parsers.seconds(0.1, 900), 15.0, "maximum wait for the beginning of a response, per candidate, while another candidate is left; the last one has `MILLRACE_READ_SECONDS`")
    read_seconds: float = setting("MILLRACE_READ_SECONDS MILLRACE_BEDROCK_READ_SECONDS", parsers.seconds(1, 900), 120.0, "maximum time without data from the model before `provider_timeout`")
    tries: int = setting("MILLRACE_TRIES MILLRACE_BEDROCK_TRIES", parsers.whole(1, 10), 4, "maximum number of calls of one candidate before the first delta, with backoff between them")


@dataclass(frozen=True)
class BedrockSettings:
    """Amazon Bedrock, for `bedrock` and `bedrock-invoke`."""

    region: str = setting("AWS_REGION AWS_DEFAULT_REGION", parsers.text, "us-east-1", "AWS region of Bedrock")
    request: str = setting("MILLRACE_BEDROCK_REQUEST", parsers.json_object, "", "further arguments of ConverseStream for answers, as a JSON object or the path of its file: guardrailConfig, serviceTier, performanceConfig, requestMetadata, additionalModelRequestFields, projectIdentifier, outputConfig, promptVariables and others of the service; `bedrock-invoke` takes the first six")
    metadata: bool = setting("MILLRACE_BEDROCK_METADATA", parsers.flag, True, "whether an answer's request carries `generation` and `owner_hash` as `requestMetadata`, for cost reports and invocation logs")
    endpoint_url: str = setting("MILLRACE_BEDROCK_ENDPOINT_URL", _http_url, "", "alternative endpoint for Bedrock, such as the local one")


@dataclass(frozen=True)
class OpenAISettings:
    """OpenAI, and services with its API (`openai`)."""

    base_url: str = setting("MILLRACE_OPENAI_BASE_URL", _http_url, OPENAI_URL, "URL before `/chat/completions` and `/responses`")
    api_key: str = setting("MILLRACE_OPENAI_API_KEY OPENAI_API_KEY", parsers.key, "", "API key; a service on your own machines may need none")
    model: str = setting("MILLRACE_OPENAI_MODEL", parsers.text, "", "default model of this provider; required by `openai`")
    api: Literal["chat", "responses"] = setting("MILLRACE_OPENAI_API", parsers.choice("chat", "responses"), "chat", "API to use: `chat` (Chat Completions) or `responses`")
    request: str = setting("MILLRACE_OPENAI_REQUEST", parsers.members_beside(*_OF_OPENAI), "", "further members of the requests for answers, as a JSON object or the path of its file, such as `reasoning_effort`, `service_tier`, `seed`, OpenRouter's `provider`, vLLM's `chat_template_kwargs`; the server must know them")


@dataclass(frozen=True)
class GeminiSettings:
    """Google Gemini (`gemini`)."""

    base_url: str = setting("MILLRACE_GEMINI_BASE_URL", _http_url, GEMINI_URL, "URL before `/models/…`")
    api_key: str = setting("MILLRACE_GEMINI_API_KEY GEMINI_API_KEY", parsers.key, "", "API key; required by `gemini`")
    model: str = setting("MILLRACE_GEMINI_MODEL", parsers.text, "", "default model of this provider; required by `gemini`")
    request: str = setting("MILLRACE_GEMINI_REQUEST", parsers.members_beside(*_OF_GEMINI), "", "further members of the requests for answers, as a JSON object or the path of its file, such as `safetySettings`, `cachedContent`, and in `generationConfig` `thinkingConfig`, `topK` or `seed`")


@dataclass(frozen=True)
class AnthropicSettings:
    """Anthropic's Messages API (`anthropic`)."""

    base_url: str = setting("MILLRACE_ANTHROPIC_BASE_URL", _http_url, ANTHROPIC_URL, "URL before `/v1/messages`")
    api_key: str = setting("MILLRACE_ANTHROPIC_API_KEY ANTHROPIC_API_KEY", parsers.key, "", "API key; required by `anthropic`")
    model: str = setting("MILLRACE_ANTHROPIC_MODEL", parsers.text, "", "default model of this provider; required by `anthropic`")
    request: str = setting("MILLRACE_ANTHROPIC_REQUEST", parsers.members_beside(*_OF_ANTHROPIC), "", "further members of the requests for answers, as a JSON object or the path of its file, such as `thinking`, `service_tier`, `top_k`, `metadata`, and `effort` in `output_config`")


@dataclass(frozen=True)
class RlmSettings:
    """Your own upstream service that answers in JSON, in SSE or in NDJSON (`rlm`)."""

    url: str = setting("MILLRACE_RLM_URL", _http_url, "", "URL that takes the question by POST; required by `rlm`")
    key: str = setting("MILLRACE_RLM_KEY", parsers.key, "", "bearer token for it")
    message_field: str = setting("MILLRACE_RLM_MESSAGE_FIELD", parsers.field_path, "message", "field of the request that holds the question; `input.message` is the field `message` of the object `input`")
    history_field: str = setting("MILLRACE_RLM_HISTORY_FIELD", parsers.optional_field_path, "history", "field that holds the messages before it, a list of `role` (`user`, `assistant`) and `content`; `off` leaves it out")
    profile_field: str = setting("MILLRACE_RLM_PROFILE_FIELD", parsers.optional_field_path, "profile", "field that holds the user's profile, a text; `off` leaves it out")
    system_field: str = setting("MILLRACE_RLM_SYSTEM_FIELD", parsers.optional_field_path, "system", "field that holds all instructions, a text, in which the profile stands as well; `off` leaves it out")
    answer_field: str = setting("MILLRACE_RLM_ANSWER_FIELD", parsers.field_path, "answer", "field of the response that holds the whole answer; `choices.0.text` is the field `text` of the first entry of `choices`")
    delta_fields: tuple[str, ...] = setting("MILLRACE_RLM_DELTA_FIELDS", parsers.field_paths, ("content", "text", "delta"), "fields of an event or a line that may hold the next piece of the text, separated by commas; the first that does counts")
    mode: Literal["chunked", "whole"] = setting("MILLRACE_RLM_MODE", parsers.choice("chunked", "whole"), "chunked", "how an answer in one piece is published: `chunked` (in pieces of about 20 characters) or `whole` (as one)")
    chunk_ms: int = setting("MILLRACE_RLM_CHUNK_MS", parsers.whole(0, 1000), 15, "pause between these pieces in milliseconds, 0 for none; a long answer takes at most 30 s in all")
    max_bytes: int = setting("MILLRACE_RLM_MAX_BYTES", parsers.whole(1024, 64 << 20), 4 << 20, "maximum size of an answer in one piece; a larger one counts as unreadable")


@dataclass(frozen=True)
class BreakerSettings:
    """The circuit breaker of each provider's model, shared by all workers."""

    failures: int = setting("MILLRACE_BREAKER_FAILURES", parsers.whole(0, 1000), 5, "number of failed calls of one provider's model, within the window, that suspend further calls; 0 turns the circuit breaker off")
    window_seconds: float = setting("MILLRACE_BREAKER_WINDOW_SECONDS", parsers.seconds(1, 3600), 30.0, "time within which failures count together")
    open_seconds: float = setting("MILLRACE_BREAKER_OPEN_SECONDS", parsers.seconds(0.1, 3600), 10.0, "time without calls before one is made as a probe; doubled each time that the probe fails")
    max_open_seconds: float = setting("MILLRACE_BREAKER_MAX_OPEN_SECONDS", parsers.seconds(0.1, 3600), 120.0, "maximum of that time")
    probe_seconds: float = setting("MILLRACE_BREAKER_PROBE_SECONDS", parsers.seconds(1, 900), 30.0, "time after which a probe without a result, such as that of a killed worker, gives way to the next; at least `MILLRACE_START_SECONDS`")
# fmt: on
