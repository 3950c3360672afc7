"""A scripted provider, for tests and as the model of a new one."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from worker.failures import Failure
from worker.providers.protocol import Delta, Prompt

Step = Delta | Failure | Callable[[], object]
"""A delta to yield, a failure to raise, or anything to call, such as a wait."""


@dataclass
class Stub:
    """Plays one script a call, the last one again and again; `prompts` and `closed` tell what became of the calls."""

    scripts: Sequence[Sequence[Step]]
    name: str = "stub"
    prompts: list[Prompt] = field(default_factory=list[Prompt])
    closed: int = 0

    def stream(self, prompt: Prompt) -> Generator[Delta]:
        """Play the next script."""
        script = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        try:
            for step in script:
                if isinstance(step, Failure):
                    raise step
                if isinstance(step, Delta):
                    yield step
                else:
                    step()
        finally:
            self.closed += 1

    def close(self) -> None:
        """There is nothing to close."""
