"""A scripted provider, for tests and as the model of a new one."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Delta, Prompt, WholeAnswer

Step = Delta | GenerationFailed | Callable[[], object]
"""A delta to yield, a failure to raise, or anything to call, such as a wait."""

Reply = WholeAnswer | GenerationFailed | Callable[[Prompt], WholeAnswer]
"""A whole answer to give, a failure to raise, or what makes the answer, in its own time."""


@dataclass
class Stub:
    """Plays one script a stream, the last one again and again; `prompts` and `closed` tell what became of them.

    `replies` are the whole answers by the name of the tool that is forced, "" where none is; where there is no reply,
    that is refused. `questions` holds what was asked for a whole answer.
    """

    scripts: Sequence[Sequence[Step]]
    name: str = "stub"
    prompts: list[Prompt] = field(default_factory=list[Prompt])
    closed: int = 0
    replies: Mapping[str, Reply] = field(default_factory=dict[str, Reply])
    questions: list[Prompt] = field(default_factory=list[Prompt])

    def stream(self, prompt: Prompt) -> Generator[Delta]:
        """Play the next script."""
        script = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        try:
            for step in script:
                if isinstance(step, GenerationFailed):
                    raise step
                if isinstance(step, Delta):
                    yield step
                else:
                    step()
        finally:
            self.closed += 1

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Give the reply for the prompt's tool."""
        self.questions.append(prompt)
        reply = self.replies.get(prompt.tool.name if prompt.tool else "")
        if reply is None:
            raise GenerationFailed("provider_rejected", retryable=False)
        if isinstance(reply, GenerationFailed):
            raise reply
        return reply if isinstance(reply, WholeAnswer) else reply(prompt)

    def close(self) -> None:
        """There is nothing to close."""
