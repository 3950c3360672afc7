"""`python wire_sdk.py READER URL ANSWERS MESSAGE`: the streams of a provider, read by the vendor's SDK."""

from gevent import monkey

monkey.patch_all()

# Everything below must be imported after the patching, hence E402.
import json  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import anthropic  # noqa: E402
import openai  # noqa: E402
from anthropic.types import MessageParam  # noqa: E402
from boto3.session import Session  # noqa: E402
from botocore.config import Config  # noqa: E402
from google import genai  # noqa: E402
from google.genai.types import HttpOptions  # noqa: E402
from openai.types.chat import ChatCompletionUserMessageParam  # noqa: E402

from tests.bench.wire_reading import MakeReader, Read, measure  # noqa: E402


def openai_sdk(api: str) -> MakeReader:
    """Return what makes a reader that asks OpenAI's own client by one of its APIs."""

    def make(url: str, _answers: int) -> Read:
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

    return make


def genai_sdk(url: str, _answers: int) -> Read:
    """Return a reader that asks Google's own client."""
    client = genai.Client(api_key="local", http_options=HttpOptions(base_url=url))

    def read(message: str) -> Iterator[str]:
        for chunk in client.models.generate_content_stream(model="m", contents=message):
            if chunk.text:
                yield chunk.text

    return read


def anthropic_sdk(url: str, _answers: int) -> Read:
    """Return a reader that asks Anthropic's own client."""
    client = anthropic.Anthropic(base_url=url, api_key="local", max_retries=0)

    def read(message: str) -> Iterator[str]:
        asked: list[MessageParam] = [{"role": "user", "content": message}]
        for event in client.messages.create(model="m", max_tokens=100_000, messages=asked, stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text

    return read


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


READERS = {
    "chat": openai_sdk("chat"),
    "responses": openai_sdk("responses"),
    "gemini": genai_sdk,
    "anthropic": anthropic_sdk,
    "bedrock-invoke": boto3_invoke,
}


if __name__ == "__main__":
    measure(READERS)
