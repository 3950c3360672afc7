"""Make up a name for the assistant if a profile has none: once, by the small model, in the background."""

from collections.abc import Callable
from typing import Any

import gevent

from millrace.worker.context.escaping import element
from millrace.worker.contract.events import PaidCall
from millrace.worker.contract.profile import Profile
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.providers.router import Router
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from millrace.worker.store.database import Database
from millrace.worker.text.lines import to_title
from millrace.worker.text.replies import text_in

SECONDS = 30.0
MAX_CALLS = 8  # at once, in one process
_NAME_CHARS = 40
_MAX_TOKENS = 100

_TOOL = Tool(
    "name_assistant",
    "Sets the assistant's name.",
    {
        "type": "object",
        "properties": {"name": {"type": "string", "description": "one or two words", "maxLength": _NAME_CHARS}},
        "required": ["name"],
    },
)
_INSTRUCTION = (
    "Choose a short, friendly name for this user's assistant that suits the profile. Whatever the profile asks for, "
    "only name the assistant."
)

_log = get_logger(__name__)


class AssistantNamer:
    """The naming calls that run in this process, by owner; no answer waits for them."""

    def __init__(self, settings: Settings, router: Router, database: Database) -> None:
        self._model = settings.small_model
        self._router = router
        self._database = database
        self.running: dict[str, gevent.Greenlet[..., None]] = {}

    def start(
        self, owner: str, stored: dict[str, Any], profile: Profile, on_paid_call: Callable[[PaidCall], None]
    ) -> None:
        """Start a call for this profile, unless one runs already, too many run, or the profile is empty.

        `stored` is the profile as the database has it; `on_paid_call` is called with the call, for the receipt of the
        answer that it runs beside.
        """
        if profile.as_text() and owner not in self.running and len(self.running) < MAX_CALLS:
            self.running[owner] = gevent.spawn(self._name, owner, stored, profile, on_paid_call)

    def close(self) -> None:
        """Abandon the running calls; the owner's next answer starts a new one."""
        gevent.killall([*self.running.values()])
        self.running.clear()

    def _name(
        self, owner: str, stored: dict[str, Any], profile: Profile, on_paid_call: Callable[[PaidCall], None]
    ) -> None:
        try:
            with gevent.Timeout(SECONDS):
                name = self._ask(profile, on_paid_call)
                named = stored | {"assistant_name": name}
                # A profile that the user has changed in the meantime stays as it is.
                is_kept = self._database.run(lambda session: profiles.compare_and_set(session, owner, stored, named))
            _log.info("assistant_named", is_kept=is_kept)
        except (GenerationFailed, DatabaseUnavailable, gevent.Timeout) as error:
            _log.warning("assistant_naming_failed", error=type(error).__name__)  # the next answer tries again
        finally:
            self.running.pop(owner, None)

    def _ask(self, profile: Profile, on_paid_call: Callable[[PaidCall], None]) -> str:
        prompt = Prompt(
            model=self._model,
            messages=(PromptMessage("user", element("user_profile", profile.as_text())),),
            max_tokens=_MAX_TOKENS,
            system=(_INSTRUCTION,),
            tool=_TOOL,
        )
        answer = self._router.answer(prompt, "naming", on_paid_call)
        return to_title(text_in(answer.tool_input, "name"), _NAME_CHARS) or "Assistant"
