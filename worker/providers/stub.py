"""A scripted provider: the test double of every provider, and the file to copy for a new one.

Stub([[Chunk("Hel"), Chunk("lo"), Stopped("end_turn"), Usage(3, 2)]])     every stream is this one
Stub([[throttled], [Chunk("Hi"), Stopped("end_turn")]])                   the first call fails, all later ones work
Stub([[Chunk("a"), lambda: gevent.sleep(60)]])                            the model hangs after its first delta
Stub([], replies={"set_title": WholeAnswer("", {"title": "Mills"}, Usage(1, 1))})   for `answer` with that tool
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer

Step = Delta | ProviderError | Callable[[], object]
"""A delta to yield, a failure to raise, or a function to call, such as a wait."""

Reply = WholeAnswer | ProviderError | Callable[[Prompt], WholeAnswer]
"""An answer to return, a failure to raise, or a function that returns the answer, however long it takes."""


@dataclass
class Stub:
    """Plays one script per stream, in order, then repeats the last one.

    `replies` holds the answer for each forced tool by its name, under "" for a prompt without a tool; a prompt without
    a reply fails with `provider_rejected`. For assertions: `prompts` are those of `stream`, `questions` those of
    `answer`, and `closed` is the number of streams that have ended or were closed.
    """

    scripts: Sequence[Sequence[Step]]
    name: str = "stub"
    prompts: list[Prompt] = field(default_factory=list[Prompt])
    closed: int = 0
    replies: Mapping[str, Reply] = field(default_factory=dict[str, Reply])
    questions: list[Prompt] = field(default_factory=list[Prompt])

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Play the next script."""
        script = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        has_started = False
        try:
            for step in script:
                if isinstance(step, ProviderError):
                    raise step
                if isinstance(step, Delta):
                    if not has_started:
                        yield Started(self.name, prompt.model)
                        has_started = True
                    yield step
                else:
                    step()
        finally:
            self.closed += 1

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Return the reply for the prompt's tool."""
        self.questions.append(prompt)
        reply = self.replies.get(prompt.tool.name if prompt.tool else "")
        if reply is None:
            raise ProviderError("provider_rejected", retryable=False)
        if isinstance(reply, ProviderError):
            raise reply
        return reply if isinstance(reply, WholeAnswer) else reply(prompt)

    def close(self) -> None:
        """Do nothing: a stub has no connections."""
