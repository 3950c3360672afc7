"""The fields of a create request: from parsed JSON to a `ParsedRequest`, or a 422 that names the field."""

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import cycle, groupby
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from millrace.webapp.guard.auth import cookie_hint
from millrace.webapp.problems import Problem, invalid
from millrace.webapp.request_input import Json
from millrace.worker.contract.creation import body_hash
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.request import ModelRequest, OnDisconnect, OnMidstreamFailure, PromptMessage
from millrace.worker.contract.response_format import SchemaRefused, check_schema
from millrace.worker.settings.schema import Settings
from millrace.worker.store.messages import StoredQuestion

MAX_ECHO_CHARS = 200  # the most characters of a request that an error repeats

_Value = TypeVar("_Value")
_Fields = TypeVar("_Fields", bound=msgspec.Struct)
_StopSequence = Annotated[str, Meta(min_length=1, max_length=255)]
_Metadata = dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]]


class HistoryMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of `messages`."""

    role: Literal["user", "assistant"]
    content: str


class AnswerFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of the answer: JSON that fits `schema`, a JSON schema."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class AnswerFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields that shape the answer, with their static bounds; bounds from the settings are checked in `parse`."""

    system: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    max_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    stop_sequences: Annotated[list[_StopSequence], Meta(max_length=4)] | UnsetType = UNSET
    search: bool | Literal["auto"] | UnsetType = UNSET
    on_disconnect: OnDisconnect | UnsetType = UNSET
    on_midstream_failure: OnMidstreamFailure | UnsetType = UNSET
    response_format: AnswerFormat | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    metadata: Annotated[_Metadata, Meta(max_length=16)] | UnsetType = UNSET


class GenerationFields(AnswerFields, frozen=True, forbid_unknown_fields=True):
    """The fields of a new generation: a message in a new or an existing conversation, or a whole history."""

    message: str | UnsetType = UNSET
    messages: list[HistoryMessage] | UnsetType = UNSET
    conversation_id: str | UnsetType = UNSET


class EditFields(AnswerFields, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of an edit: the new question, and those that shape its answer."""

    message: str


@dataclass(frozen=True)
class ParsedRequest:
    """A validated request; None for a field that the request leaves open.

    `is_turn`: the question and its answer become a turn of a conversation; with a whole history nothing is stored.
    `question` is the id of a stored question that is asked again. `given` holds the fields of the body that make up the
    question. `new_conversation` is an id that a facade has chosen for the conversation, which is made if it does not
    exist; it must be one that no other owner can have. `replaces` is the id of a message whose turn, with all later
    ones, the question replaces.
    """

    request: ModelRequest
    is_turn: bool
    conversation: str | None
    question: str | None
    on_disconnect: OnDisconnect | None
    stream: bool | None
    given: Json
    new_conversation: str | None = None
    replaces: str | None = None

    @cached_property
    def digest(self) -> str:
        """A hash that equal questions share; for a long history it takes as long as all the rest."""
        digest = body_hash(self.given)
        if self.replaces is not None:
            return body_hash(["edit", self.replaces, digest])
        return digest if self.question is None else body_hash([self.question, digest])


def parse(body: Json, settings: Settings, *, merges_neighbours: bool = False) -> ParsedRequest:
    """Return the validated request; raises Problem 403, 404 or 422.

    `merges_neighbours`: in `messages`, neighbours of one role count as one message, and empty messages as none.
    """
    body = without_absent(body, GenerationFields)
    fields = convert(body, GenerationFields)
    model = _model(fields, settings)
    _check_traits(fields, model, settings)
    request = ModelRequest(
        messages=_messages(fields, settings, merges_neighbours=merges_neighbours),
        model=model,
        max_tokens=_max_tokens(fields, settings),
        system=_system(fields, settings),
        temperature=_given(fields.temperature),
        top_p=_given(fields.top_p),
        stop_sequences=_given(fields.stop_sequences) or None,
        search=_search(fields, settings),
        metadata=_given(fields.metadata) or None,
        on_midstream_failure=_given(fields.on_midstream_failure) or "error",
        schema=_schema(fields),
    )
    # The form of the response is not part of the question: a retry may ask for another form.
    given = {name: value for name, value in body.items() if name != "stream"}
    is_turn = isinstance(fields.messages, UnsetType)
    return ParsedRequest(
        request,
        is_turn,
        _conversation(fields),
        None,
        _given(fields.on_disconnect),
        _given(fields.stream),
        given,
    )


def parse_again(body: Json, question: StoredQuestion, settings: Settings) -> ParsedRequest:
    """Return a request that asks a stored question again, with the body's fields; raises Problem 403 or 422."""
    convert(body, AnswerFields)  # the fields that name the question are not allowed
    asked = parse({**body, "message": question.content, "conversation_id": question.conversation}, settings)
    return replace(asked, question=question.id)


def parse_edit(body: Json, conversation: str, message: str, settings: Settings) -> ParsedRequest:
    """Return a request whose question replaces the turn of this message and all later ones; raises as `parse`."""
    convert(body, EditFields)  # the fields that name the conversation are not allowed
    return replace(parse({**body, "conversation_id": conversation}, settings), replaces=message)


def no_conversation(field: str | None = None) -> Problem:
    """Return the 404 for an absent conversation or another user's; `field` is the request field that names it."""
    problem = Problem(404, "not_found", f"You have no such conversation.{cookie_hint()}")
    if field is not None:
        problem.members["field"] = field
    return problem


def without_absent(body: Json, fields: type[msgspec.Struct]) -> Json:
    """Return the body without its optional fields that are null or an empty text: these count as absent."""
    required, known = _required_names(fields), fields.__struct_fields__
    return {
        name: value
        for name, value in body.items()
        if name in required or name not in known or not (value is None or value == "")
    }


@cache
def _required_names(fields: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names of the required fields; msgspec evaluates all annotations to find them."""
    return frozenset(each.name for each in msgspec.structs.fields(fields) if each.required)


def convert(body: Json, fields: type[_Fields]) -> _Fields:
    """Return the body as a struct of its fields; raises Problem 422 that names the invalid field.

    An optional field that is null or an empty text counts as absent.
    """
    body = without_absent(body, fields)
    for name in body:  # not left to msgspec, which cannot read a name with a lone surrogate
        if name not in fields.__struct_fields__:
            raise invalid(name[:MAX_ECHO_CHARS], "There is no such field.")
    try:
        return msgspec.convert(body, fields, strict=True)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at ")
        # msgspec names a missing top-level field in its message only, not as a path.
        name = re.search(r"\$\.(\w+)", where, re.ASCII) or re.search(r"field `(\w+)`", why, re.ASCII)
        raise invalid(name[1] if name else "", f"{why[:MAX_ECHO_CHARS]} at {where[:MAX_ECHO_CHARS] or '$'}.") from error
    except UnicodeEncodeError as error:  # msgspec cannot look up a text with a lone surrogate
        name = next(name for name in body if _has_unknown_text(name, body[name], fields))
        raise invalid(name, f"{name} has a value or a field that is not one of those allowed.") from error


def _has_unknown_text(name: str, value: Any, fields: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert({name: value}, fields, strict=True)
    except UnicodeEncodeError:
        return True
    except msgspec.ValidationError:  # another required field is absent
        pass
    return False


def _given(value: _Value | UnsetType) -> _Value | None:
    return None if isinstance(value, UnsetType) else value


def _messages(fields: GenerationFields, settings: Settings, *, merges_neighbours: bool) -> list[PromptMessage]:
    if not isinstance(fields.messages, UnsetType):
        return _history(fields, fields.messages, settings, merges_neighbours=merges_neighbours)
    if isinstance(fields.message, UnsetType):
        raise invalid("message", "A message is required.")
    _check_text("message", fields.message, settings)
    return [PromptMessage("user", fields.message)]


def _history(
    fields: GenerationFields, messages: list[HistoryMessage], settings: Settings, *, merges_neighbours: bool
) -> list[PromptMessage]:
    if fields.message is not UNSET:
        raise invalid("messages", "Give either message or messages, not both.")
    if fields.conversation_id is not UNSET:
        raise invalid(
            "conversation_id", "messages carries the whole history, so conversation_id cannot be given with it."
        )
    if len(messages) > settings.limits.max_messages:
        raise invalid("messages", f"There are more than {settings.limits.max_messages} messages.")
    given = [PromptMessage(each.role, each.content) for each in messages]
    merged = _merge(given) if merges_neighbours else given
    is_in_turn = all(each.role == role for each, role in zip(merged, cycle(("user", "assistant")), strict=False))
    if len(merged) % 2 == 0 or not is_in_turn:
        raise invalid("messages", "Messages alternate between user and assistant, and begin and end with user.")
    for number, each in enumerate(messages):
        if not merges_neighbours or each.content.strip():
            _check_text("messages", each.content, settings, f"messages[{number}].content: ")
    return merged


def _merge(messages: list[PromptMessage]) -> list[PromptMessage]:
    """Return the messages that have text, with neighbours of one role joined by an empty line."""
    with_text = (each for each in messages if each.content.strip())
    return [
        PromptMessage(role, "\n\n".join(each.content for each in run))
        for role, run in groupby(with_text, key=lambda each: each.role)
    ]


def _check_text(field: str, text: str, settings: Settings, place: str = "") -> None:
    if len(text) > settings.limits.max_message_chars:
        raise invalid(field, f"{place}A text has at most {settings.limits.max_message_chars} characters.")
    if not text.strip():
        raise invalid(field, f"{place}A text must not be empty.")


def _model(fields: GenerationFields, settings: Settings) -> str:
    model = _given(fields.model)
    if model is None:
        return settings.default_model
    if model not in settings.model_names:
        raise invalid("model", f"The model must be one of: {', '.join(settings.model_names)}.")
    return model


def _check_traits(fields: AnswerFields, model: str, settings: Settings) -> None:
    """Raise Problem 422 where the model would reject the sampling parameters or a stop sequence."""
    traits = settings.candidates(model)[0].traits
    given = [name for name in ("temperature", "top_p") if _given(getattr(fields, name)) is not None]
    if given and traits.sampling == "none":
        raise invalid(given[0], f"The model {model} does not take {given[0]}.")
    if len(given) == 2 and traits.sampling == "one":
        raise invalid("top_p", f"The model {model} takes temperature or top_p, but not both.")
    for sequence in () if traits.blank_stop_sequences else _given(fields.stop_sequences) or ():
        if not sequence.strip():
            raise invalid("stop_sequences", f"The model {model} takes no stop sequence of white space alone.")


def _schema(fields: AnswerFields) -> dict[str, Any] | None:
    form = _given(fields.response_format)
    if form is None:
        return None
    try:
        check_schema(form.schema)
    except SchemaRefused as error:
        raise invalid("response_format", f"The schema cannot be used: {error}.") from error
    return form.schema


def _max_tokens(fields: GenerationFields, settings: Settings) -> int:
    tokens = _given(fields.max_tokens)
    if tokens is None:
        return settings.models.max_tokens
    if tokens > settings.models.max_tokens:
        raise invalid("max_tokens", f"An answer has at most {settings.models.max_tokens} tokens.")
    return tokens


def _system(fields: GenerationFields, settings: Settings) -> str | None:
    system = _given(fields.system)
    if system is not None:
        if not settings.models.allow_system:
            raise Problem(
                403,
                "system_not_allowed",
                "This server does not accept instructions (MILLRACE_ALLOW_SYSTEM).",
                field="system",
            )
        _check_text("system", system, settings)
    return system


def _search(fields: GenerationFields, settings: Settings) -> bool | Literal["auto"]:
    search: bool | Literal["auto"] | None = _given(fields.search)
    if settings.search.engine:
        return "auto" if search is None else search
    if search is True:
        raise invalid(
            "search",
            "No search is configured on this server (MILLRACE_SEARCH_ENGINE). Leave out search, or set it to false.",
        )
    return False


def _conversation(fields: GenerationFields) -> str | None:
    conversation = _given(fields.conversation_id)
    if conversation is not None and not is_id(conversation):
        raise no_conversation("conversation_id")
    return conversation
