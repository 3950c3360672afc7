"""The forms in which a prompt can be asked, and a memory of those that models refuse."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from millrace.worker.errors import ProviderError
from millrace.worker.providers.output_schema import to_output_schema
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.providers.refused_features import RefusedFeatures, ask_in_turn

ANSWER_TOOL = Tool("answer", "Gives the answer. Use it for the whole answer.", {})
"""The tool whose input is the answer, for a schema that the API does not take as an output format."""

T = TypeVar("T")


class Form(NamedTuple):
    """A form in which a prompt can be asked.

    `structure` is how the model is held to the prompt's tool or schema: by a forced tool, by the API's output format,
    or by an instruction in words. With `is_cached` the body marks the beginning that the next question shares.
    """

    structure: Literal["none", "tool", "format", "instruction"] = "none"
    is_cached: bool = False


def forms_of(prompt: Prompt, *, is_caching: bool) -> list[Form]:
    """Return the forms of a prompt, the preferred one first; each further one does without a feature of the API.

    Current models refuse a forced tool, and the output format takes only a part of JSON Schema.
    """
    traits = prompt.traits
    is_cached = is_caching and traits.caching and (bool(prompt.system) or len(prompt.messages) > 1)
    if prompt.tool:
        # A short question with a tool is asked once: writing it to the cache would cost more than it saves.
        forms = [Form("tool")] if traits.tools else []
        forms += [Form("format")] if traits.schema and to_output_schema(prompt.tool.schema) else []
        return [*forms, Form("instruction")]
    if prompt.schema is not None:
        forms = [Form("format", is_cached)] if traits.schema and to_output_schema(prompt.schema) else []
        forms += [Form("tool", is_cached)] if traits.tools and prompt.schema.get("type") == "object" else []
        return [*forms, Form("instruction", is_cached), *([Form("instruction")] if is_cached else [])]
    return [Form("none", is_cached=True), Form()] if is_cached else [Form()]


def answer_tool_of(prompt: Prompt, form: Form) -> str:
    """Return the name of the tool whose input is the answer's text; empty if there is none."""
    return ANSWER_TOOL.name if form.structure == "tool" and not prompt.tool else ""


class FormMemory:
    """Asks in the preferred form that a model has not refused, for one process.

    A request that is refused is made again in the next form. If that is accepted, the refused form is not tried again
    for the model, unless it may have been refused because of the user's schema.
    """

    def __init__(self, *, is_caching: bool) -> None:
        self._is_caching = is_caching
        self._refused: RefusedFeatures[Form] = RefusedFeatures()

    def ask(
        self, prompt: Prompt, call: Callable[[Form], T], may_refuse: Callable[[ProviderError], bool]
    ) -> tuple[T, Form]:
        """Return the result of the call, and the form that was accepted.

        Raises the first ProviderError if all forms are refused, and any error that `may_refuse` does not accept.
        """
        is_caching = self._is_caching and not self._refused.has(prompt.model, Form(is_cached=True))
        forms = forms_of(prompt, is_caching=is_caching)
        forms = [form for form in forms if not self._refused.has(prompt.model, form._replace(is_cached=False))]
        result, refused, form = ask_in_turn(
            forms or [Form()], call, lambda error: isinstance(error, ProviderError) and may_refuse(error)
        )
        if prompt.schema is None:
            self._refused.add(prompt.model, refused)
        return result, form
