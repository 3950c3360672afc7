"""Every wire, as the tests of the contract make its provider."""

from collections.abc import Callable

from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.gemini.client import Gemini
from millrace.worker.providers.openai.client import OpenAI
from millrace.worker.providers.protocol import Provider
from millrace.worker.providers.rlm.client import Rlm
from millrace.worker.settings.schema import Settings, load

_OPENAI = {"MILLRACE_OPENAI_BASE_URL": "{url}/v1", "MILLRACE_OPENAI_API_KEY": "a-key"}

WIRES: dict[str, tuple[Callable[[Settings, int], Provider], dict[str, str]]] = {
    "bedrock": (Bedrock, {"MILLRACE_BEDROCK_ENDPOINT_URL": "{url}"}),
    "bedrock-invoke": (BedrockInvoke, {"MILLRACE_BEDROCK_ENDPOINT_URL": "{url}"}),
    "anthropic": (Anthropic, {"MILLRACE_ANTHROPIC_BASE_URL": "{url}", "MILLRACE_ANTHROPIC_API_KEY": "a-key"}),
    "openai-chat": (OpenAI, {**_OPENAI, "MILLRACE_OPENAI_API": "chat"}),
    "openai-responses": (OpenAI, {**_OPENAI, "MILLRACE_OPENAI_API": "responses"}),
    "gemini": (Gemini, {"MILLRACE_GEMINI_BASE_URL": "{url}/v1beta", "MILLRACE_GEMINI_API_KEY": "a-key"}),
    "rlm": (Rlm, {"MILLRACE_RLM_URL": "{url}/rlm?stream=sse"}),
}
"""The class of each wire, and its settings; `{url}` stands for the local endpoint's."""

MODELS = [wire for wire in WIRES if wire != "rlm"]
"""The wires of models: with reasoning, tools, usage and stop reasons."""


def make_provider(wire: str, url: str, read_seconds: float = 5, concurrency: int = 20) -> Provider:
    """Return a provider that asks the local endpoint."""
    make, settings = WIRES[wire]
    environment = {name: value.format(url=url) for name, value in settings.items()}
    return make(load({**environment, "MILLRACE_READ_SECONDS": str(read_seconds)}), concurrency)
