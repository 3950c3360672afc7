"""`python wire_ours.py READER URL ANSWERS MESSAGE`: the streams of a provider, read by Millrace."""

from gevent import monkey

monkey.patch_all()

# Everything below must be imported after the patching, hence E402.
from collections.abc import Iterator  # noqa: E402

from millrace.worker.contract.events import Chunk  # noqa: E402
from millrace.worker.contract.request import PromptMessage  # noqa: E402
from millrace.worker.providers.anthropic.client import Anthropic  # noqa: E402
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke  # noqa: E402
from millrace.worker.providers.gemini.client import Gemini  # noqa: E402
from millrace.worker.providers.openai.client import OpenAI  # noqa: E402
from millrace.worker.providers.protocol import Prompt, Provider  # noqa: E402
from millrace.worker.settings.schema import load  # noqa: E402
from tests.bench.wire_reading import MakeReader, Read, measure  # noqa: E402


def read_with(provider: Provider) -> Read:
    """Return a reader that asks Millrace's provider."""

    def read(message: str) -> Iterator[str]:
        for delta in provider.stream(Prompt("m", (PromptMessage("user", message),), 100_000)):
            if isinstance(delta, Chunk):
                yield delta.content

    return read


def openai(api: str) -> MakeReader:
    """Return what makes a reader that asks the provider of OpenAI by one of its APIs."""

    def make(url: str, answers: int) -> Read:
        own = {"MILLRACE_OPENAI_BASE_URL": f"{url}/v1", "MILLRACE_OPENAI_API_KEY": "local", "MILLRACE_OPENAI_API": api}
        return read_with(OpenAI(load(own), answers))

    return make


def gemini(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Gemini."""
    own = {"MILLRACE_GEMINI_BASE_URL": f"{url}/v1beta", "MILLRACE_GEMINI_API_KEY": "local"}
    return read_with(Gemini(load(own), answers))


def anthropic(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Anthropic."""
    return read_with(
        Anthropic(load({"MILLRACE_ANTHROPIC_BASE_URL": url, "MILLRACE_ANTHROPIC_API_KEY": "local"}), answers)
    )


def invoke(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Bedrock's InvokeModel."""
    return read_with(BedrockInvoke(load({"MILLRACE_BEDROCK_ENDPOINT_URL": url}), answers))


READERS = {
    "chat": openai("chat"),
    "responses": openai("responses"),
    "gemini": gemini,
    "anthropic": anthropic,
    "bedrock-invoke": invoke,
}


if __name__ == "__main__":
    measure(READERS)
