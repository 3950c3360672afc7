"""Streams of one provider at once, read by Millrace's provider or by the vendor's SDK; prints the CPU of their deltas.

`python wire_loop.py READER URL ANSWERS MESSAGE`; READER is a key of `READERS`.
"""

from gevent import monkey

monkey.patch_all()

# Everything below must be imported after the patching, hence E402.
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

import anthropic  # noqa: E402
import gevent  # noqa: E402
import openai  # noqa: E402
from anthropic.types import MessageParam  # noqa: E402
from boto3.session import Session  # noqa: E402
from botocore.config import Config  # noqa: E402
from google import genai  # noqa: E402
from google.genai.types import HttpOptions  # noqa: E402
from openai.types.chat import ChatCompletionUserMessageParam  # noqa: E402

from millrace.worker.contract.events import Chunk  # noqa: E402
from millrace.worker.contract.request import PromptMessage  # noqa: E402
from millrace.worker.providers.anthropic.client import Anthropic  # noqa: E402
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke  # noqa: E402
from millrace.worker.providers.gemini.client import Gemini  # noqa: E402
from millrace.worker.providers.openai.client import OpenAI  # noqa: E402
from millrace.worker.providers.protocol import Prompt, Provider  # noqa: E402
from millrace.worker.settings.schema import load  # noqa: E402

Read = Callable[[str], Iterator[str]]
"""Yields the texts of an answer to this message."""


def read_with(provider: Provider) -> Read:
    """Return a reader that asks Millrace's provider."""

    def read(message: str) -> Iterator[str]:
        for delta in provider.stream(Prompt("m", (PromptMessage("user", message),), 100_000)):
            if isinstance(delta, Chunk):
                yield delta.content

    return read


def ours(url: str, answers: int, api: str) -> Read:
    """Return a reader that asks the provider of OpenAI."""
    own = {"MILLRACE_OPENAI_BASE_URL": f"{url}/v1", "MILLRACE_OPENAI_API_KEY": "local", "MILLRACE_OPENAI_API": api}
    return read_with(OpenAI(load(own), answers))


def our_gemini(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Gemini."""
    own = {"MILLRACE_GEMINI_BASE_URL": f"{url}/v1beta", "MILLRACE_GEMINI_API_KEY": "local"}
    return read_with(Gemini(load(own), answers))


def genai_sdk(url: str, _answers: int) -> Read:
    """Return a reader that asks Google's own client."""
    client = genai.Client(api_key="local", http_options=HttpOptions(base_url=url))

    def read(message: str) -> Iterator[str]:
        for chunk in client.models.generate_content_stream(model="m", contents=message):
            if chunk.text:
                yield chunk.text

    return read


def our_anthropic(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Anthropic."""
    return read_with(
        Anthropic(load({"MILLRACE_ANTHROPIC_BASE_URL": url, "MILLRACE_ANTHROPIC_API_KEY": "local"}), answers)
    )


def anthropic_sdk(url: str, _answers: int) -> Read:
    """Return a reader that asks Anthropic's own client."""
    client = anthropic.Anthropic(base_url=url, api_key="local", max_retries=0)

    def read(message: str) -> Iterator[str]:
        asked: list[MessageParam] = [{"role": "user", "content": message}]
        for event in client.messages.create(model="m", max_tokens=100_000, messages=asked, stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text

    return read


def our_invoke(url: str, answers: int) -> Read:
    """Return a reader that asks the provider of Bedrock's InvokeModel."""
    return read_with(BedrockInvoke(load({"MILLRACE_BEDROCK_ENDPOINT_URL": url}), answers))


def boto3_invoke(url: str, answers: int) -> Read:
    """Return a reader that iterates boto3's stream."""
    config = Config(max_pool_connections=answers, retries={"total_max_attempts": 1})
    client: Any = Session().client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config)
    rest = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100_000}

    def read(message: str) -> Iterator[str]:
        body = json.dumps({**rest, "messages": [{"role": "user", "content": message}]})
        for event in client.invoke_model_with_response_stream(modelId="m", body=body)["body"]:
            found = json.loads(event["chunk"]["bytes"])
            if found["type"] == "content_block_delta":
                yield found["delta"]["text"]

    return read


def sdk(url: str, _answers: int, api: str) -> Read:
    """Return a reader that asks OpenAI's own client."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="local", max_retries=0)

    def read_chat(message: str) -> Iterator[str]:
        asked = [ChatCompletionUserMessageParam(role="user", content=message)]
        for chunk in client.chat.completions.create(model="m", messages=asked, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    def read_responses(message: str) -> Iterator[str]:
        for event in client.responses.create(model="m", input=message, stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta

    return read_chat if api == "chat" else read_responses


READERS: dict[str, Callable[[str, int], Read]] = {
    f"{name} {api}": lambda url, answers, make=make, api=api: make(url, answers, api)
    for name, make in (("ours", ours), ("sdk", sdk))
    for api in ("chat", "responses")
} | {
    "ours gemini": our_gemini,
    "sdk gemini": genai_sdk,
    "ours anthropic": our_anthropic,
    "sdk anthropic": anthropic_sdk,
    "ours bedrock-invoke": our_invoke,
    "sdk bedrock-invoke": boto3_invoke,
}


def main() -> None:
    """Read all answers; count the deltas and the CPU from the moment at which all have begun."""
    reader, url, answers, message = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    read = READERS[reader](url, answers)
    begun, deltas = 0, 0
    cpu = 0.0

    def run() -> None:
        nonlocal begun, deltas, cpu
        for number, _ in enumerate(read(message)):
            deltas += 1
            if not number:
                begun += 1
                if begun == answers:
                    cpu, deltas = time.process_time(), 0

    gevent.joinall([gevent.spawn(run) for _ in range(answers)], raise_error=True)
    print(json.dumps({"cpu": time.process_time() - cpu, "deltas": deltas}))


if __name__ == "__main__":
    main()
