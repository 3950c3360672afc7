"""The providers by their names in `MILLRACE_PROVIDERS`: a new one is one folder and one line here."""

from collections.abc import Callable, Mapping

from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.gemini.client import Gemini
from millrace.worker.providers.openai.client import OpenAI
from millrace.worker.providers.protocol import Provider
from millrace.worker.providers.rlm.client import Rlm
from millrace.worker.settings.schema import Settings

FACTORIES: Mapping[str, Callable[[Settings, int], Provider]] = {
    "bedrock": Bedrock,
    "openai": OpenAI,
    "bedrock-invoke": BedrockInvoke,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "rlm": Rlm,
}
"""Each takes the settings and the number of streams that run at once."""


def make_providers(settings: Settings, concurrency: int) -> dict[str, Provider]:
    """Return the providers in use, by name."""
    return {name: FACTORIES[name](settings, concurrency) for name in settings.providers.order}
