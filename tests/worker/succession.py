"""A worker that comes after another."""

from dataclasses import dataclass

from millrace.worker.contract.events import AnyEvent, encode, kind_of
from millrace.worker.contract.lease import ClaimedGeneration, claim, release
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.request import PromptMessage
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.stub import Stub
from tests.worker.desk import Desk

QUESTION = PromptMessage("user", "Why?")


@dataclass
class Successor:
    """A worker of this process that takes over from another, with a scripted model."""

    desk: Desk
    stub: Stub
    process: WorkerProcess

    def inherit(self, *told: AnyEvent) -> str:
        """Return a generation whose first worker has told this and then given it up."""
        generation = self.desk.make(QUESTION.content)
        first = claim(self.desk.redis, generation, self.desk.settings)
        assert first is not None
        seq = first.top.seq
        appends = [Append(first.claim, seq + n, kind_of(each), encode(each)) for n, each in enumerate(told, 1)]
        for answer in append_all(self.desk.redis, appends, 1000):
            assert isinstance(answer, AppendResult)
            assert answer.verdict is Verdict.APPENDED
        assert release(self.desk.redis, first.claim, self.desk.settings)
        return generation

    def take_over(self, *told: AnyEvent) -> ClaimedGeneration:
        """Inherit and claim, without a word."""
        holding = claim(self.desk.redis, self.inherit(*told), self.desk.settings)
        assert holding is not None
        return holding

    def answer(self, *told: AnyEvent) -> list[AnyEvent]:
        """Inherit, go on to the end, and return what this worker has added to the log."""
        generation = self.inherit(*told)
        generate(self.process, generation)
        return self.desk.ended(generation)[1 + len(told) :]

    @property
    def prefills(self) -> list[str | None]:
        """What the model was given as its own words, call by call; None where there was nothing."""
        for prompt in self.stub.prompts:
            assert prompt.messages[0] == QUESTION
            assert [each.role for each in prompt.messages[1:]] in ([], ["assistant"])
        return [prompt.messages[1].content if prompt.messages[1:] else None for prompt in self.stub.prompts]
