"""One worker process as its settings make it, with real boto3, the local endpoint and a real database."""

from typing import Any

from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, ContextEvent
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.bedrock.client import Bedrock
from tests.emulator_process import EmulatorProcess
from tests.worker.desk import Desk


class Room:
    """Answers what it is asked; settings are given as to a desk."""

    def __init__(self, redis_url: str, emulator: EmulatorProcess, **given: object) -> None:
        rest = {"titles": "off", "suggestions": "off", "bedrock_endpoint_url": emulator.url}
        self.desk = Desk(redis_url, **(rest | given))
        self.emulator = emulator
        self.process = WorkerProcess(self.desk.settings, Bedrock(self.desk.settings, 10))
        self.process.start()

    def answer(
        self, text: str, *before: PromptMessage, owner: str = "ada", conversation: str | None = None, **fields: Any
    ) -> list[AnyEvent]:
        """Ask, and return the log once it has ended."""
        ids = new_ids(conversation)
        given: dict[str, Any] = {"model": self.desk.settings.models.model_id, "max_tokens": 1000} | fields
        request = ModelRequest([*before, PromptMessage("user", text)], **given)
        create(self.desk.redis, Draft(ids, owner, request, "continue", 1), self.desk.settings)
        generate(self.process, ids.generation)
        return self.desk.ended(ids.generation)

    def asked(self) -> dict[str, Any]:
        """Return the last call of ConverseStream that the model has served."""
        return [call for call in self.emulator.calls() if call["operation"] == "ConverseStream"][-1]

    def stop(self) -> None:
        """End the process."""
        self.process.stop()


def told(events: list[AnyEvent]) -> list[ContextEvent]:
    """Return what the reader was told of the context."""
    return [event for event in events if isinstance(event, ContextEvent)]
