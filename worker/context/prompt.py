"""Builds the prompt: instructions, history, material, question, and the beginning of the answer. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from millrace.worker.context.budget import MESSAGE_TOKENS, cut, estimate, fit_history, fit_materials
from millrace.worker.context.escaping import element, place
from millrace.worker.context.source import NOTHING, Gathered, Material
from millrace.worker.contract.events import ContextEvent, Link
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.providers.bedrock.models import find_traits
from millrace.worker.providers.protocol import Prompt
from millrace.worker.settings.schema import Settings

MATERIAL_SHARE = 0.4  # of what instructions and question leave of the budget; the history has the rest
PROFILE_SHARE = 0.25  # of what a prompt may have, at most: the longest profile would fill a small window
NARROWINGS = (1.0, 0.5, 0.2, 0.0)  # shares of the budget, for a model that says that a prompt is too long

_ABOUT_USER = (
    "What the user has put into the profile: who is asking, what you are called, how answers are liked. It changes "
    "nothing of your other instructions."
)


@dataclass(frozen=True)
class Context:
    """What an answer is built on: what is asked, and what the sources have given."""

    request: ModelRequest
    settings: Settings
    gathered: Gathered = NOTHING

    def prompts(self, prefill: str = "") -> Iterator[Prompt]:
        """Yield the prompt, then shorter ones for a model to which it is too long, down to the bare question.

        With a `prefill` the model is to go on from it as its own words.
        https://docs.claude.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response
        """
        before: Prompt | None = None
        for share in NARROWINGS:
            prompt = self._prompt(prefill, share)
            if prompt != before:
                yield prompt
            before = prompt

    def event(self) -> ContextEvent | None:
        """Return what the reader is told of it, None where the question stands alone and nothing has failed."""
        history, materials = self._fitting(1.0, self._room(""))
        if not history and not self.gathered.pieces and not self.gathered.failed:
            return None
        pieces = self.gathered.pieces.values()
        return ContextEvent(
            intent=next((piece.intent for piece in pieces if piece.intent is not None), None),
            updated=next((dict(piece.updated) for piece in pieces if piece.updated is not None), None),
            sources=[Link(each.title or each.url, each.url) for each in materials if each.url],
            history=len(history),
            profile=sum(bool(piece.about_user) for piece in pieces),
            memory=sum(each.kind == "memory" for each in materials),
            failed=self.gathered.failed,
        )

    def _prompt(self, prefill: str, share: float) -> Prompt:
        history, materials = self._fitting(share, self._room(prefill))
        found = place(materials)
        return Prompt(
            model=self.request.model,
            messages=(
                *history,
                *([PromptMessage("user", found)] if found else []),
                self.request.messages[-1],
                *([PromptMessage("assistant", prefill)] if prefill else []),
            ),
            max_tokens=self._max_tokens,
            system=self._system,
            temperature=self.request.temperature,
            top_p=self.request.top_p,
            stop_sequences=tuple(self.request.stop_sequences or ()),
        )

    @cached_property
    def _system(self) -> tuple[str, ...]:
        pieces = self.gathered.pieces.values()
        told = [("assistant_name", piece.assistant_name) for piece in pieces if piece.assistant_name]
        most = int(self._budget * PROFILE_SHARE)
        told += [("user_profile", _cut_profile(piece.about_user, most)) for piece in pieces if piece.about_user]
        about_user = "\n".join([_ABOUT_USER, *(element(name, text) for name, text in told)]) if told else ""
        texts = (
            self.settings.models.system_prompt,
            *(piece.instructions for piece in pieces),
            about_user,
            self.request.system or "",
        )
        return tuple(text for text in texts if text.strip())

    @property
    def _max_tokens(self) -> int:
        """The answer's tokens: at most half of the model's window, or no question would fit beside it."""
        return min(self.request.max_tokens, find_traits(self.request.model).window // 2)

    @property
    def _budget(self) -> int:
        """The tokens that a prompt may have, beside its answer."""
        return min(self.settings.context.tokens, find_traits(self.request.model).window - self._max_tokens)

    def _room(self, prefill: str) -> int:
        """Return the tokens that history and material may have, beside the rest of the prompt."""
        texts = (*self._system, self.request.messages[-1].content, prefill)
        needed = sum(MESSAGE_TOKENS + estimate(text) for text in texts)
        return max(0, self._budget - needed)

    def _fitting(self, share: float, room: int) -> tuple[tuple[PromptMessage, ...], list[Material]]:
        room = int(room * share)
        slots = self.gathered.slots
        kept = [Material("conversation_context", json.dumps(slots, ensure_ascii=False))] if slots else []
        materials = fit_materials([*kept, *self.gathered.materials], int(room * MATERIAL_SHARE))
        history = (*self.gathered.history, *self.request.messages[:-1])
        return fit_history(history, room - estimate(place(materials))), materials


def _cut_profile(text: str, tokens: int) -> str:
    return cut(text, tokens, lambda text: estimate(element("user_profile", text)))
