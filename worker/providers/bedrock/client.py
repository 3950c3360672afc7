"""The Bedrock provider: ConverseStream and Converse through boto3."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.bedrock.arguments import ANSWER_TOOL, Feature, build_arguments, feature_of
from millrace.worker.providers.bedrock.connection import WARM_UP_MESSAGES, make_client, mapped_errors, warm_up
from millrace.worker.providers.bedrock.errors import may_refuse_feature
from millrace.worker.providers.bedrock.mapping import EventMapper, parse_answer
from millrace.worker.providers.bedrock.request import checked_request
from millrace.worker.providers.bedrock.wire import read_events
from millrace.worker.providers.members import merge
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.providers.reasoning import (
    asks_for_reasoning,
    drop_reasoning,
    has_reasoning,
    keep_reasoning,
    may_reason,
)
from millrace.worker.providers.refused_features import RefusedFeatures, ask_in_turn
from millrace.worker.settings.schema import Settings

_WITH_REASONING = (None, "cache_points", "output_format")  # a model that is forced to use a tool does not reason

_log = get_logger(__name__)


class Bedrock:
    """One boto3 client, for up to `concurrency` streams at once.

    Not every model has cache points, forced tools and an output format. A request that is refused with one is made
    once more without it; if that is accepted, this process leaves the feature out for the model for some hours.
    """

    name = "bedrock"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        self._client = make_client(settings, concurrency)
        self._request = checked_request(self._client, settings.bedrock.request)
        self._asks_for_reasoning = asks_for_reasoning(self._request.get("additionalModelRequestFields"))
        self._has_metadata = settings.bedrock.metadata
        self._is_caching = settings.models.prompt_caching
        self._refused: RefusedFeatures[Feature | None] = RefusedFeatures()
        warm_up(self._client, "converse_stream", build_arguments(Prompt(settings.default_model, WARM_UP_MESSAGES, 1)))

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Call ConverseStream and yield its deltas; raises ProviderError."""
        with mapped_errors():
            response, feature = self._call(self._client.converse_stream, prompt)
            mapper = EventMapper(_answer_tool_of(feature), asks_for_reasoning=self._asks_for_reasoning is True)
            with closing(response["stream"]) as events:
                yield Started(self.name, prompt.model)
                for event in read_events(events):
                    yield from mapper.map(event)

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Call Converse and return its whole answer; raises ProviderError."""
        with mapped_errors():
            response, feature = self._call(self._client.converse, prompt)
            is_instructed, answer_tool = feature != "forced_tool", _answer_tool_of(feature)
            return parse_answer(response, prompt.tool, is_instructed=is_instructed, answer_tool=answer_tool)

    def _call(self, operation: Callable[..., Any], prompt: Prompt) -> tuple[Any, Feature | None]:
        """Return the response, and the feature that the accepted request used."""
        feature = self._feature_of(prompt)
        if has_reasoning(prompt):
            try:
                return operation(**self._arguments(prompt, feature)), feature
            except ClientError as error:
                if not may_refuse_feature(error):
                    raise
            # Signatures that are not accepted must not end all later answers.
            _log.warning("reasoning_refused", model=prompt.model)
            return self._call(operation, drop_reasoning(prompt))
        response, refused, feature = ask_in_turn(
            [feature, None] if feature else [None],
            lambda form: operation(**self._arguments(prompt, form)),
            lambda error: isinstance(error, ClientError) and may_refuse_feature(error),
        )
        if prompt.schema is None:  # else the request may have been refused because of the user's schema
            self._refused.add(prompt.model, refused)
        return response, feature

    def _feature_of(self, prompt: Prompt) -> Feature | None:
        """Return the feature that the request uses, unless the model has refused it."""
        feature = feature_of(prompt, is_caching=self._is_caching)
        return None if self._refused.has(prompt.model, feature) else feature

    def _arguments(self, prompt: Prompt, feature: Feature | None) -> dict[str, Any]:
        prompt = prompt if self._has_metadata else replace(prompt, metadata={})
        prompt = keep_reasoning(
            prompt, lambda state: feature in _WITH_REASONING and may_reason(self._asks_for_reasoning, state)
        )
        arguments = build_arguments(prompt, feature)
        return arguments if prompt.tool else merge(arguments, self._request)


def _answer_tool_of(feature: Feature | None) -> str:
    """Return the name of the tool whose input is the answer's text; empty if there is none."""
    return ANSWER_TOOL.name if feature == "answer_tool" else ""
