"""Makes up a name for the assistant where a user's profile has none: once, by the small model, beside the answers."""

from typing import Annotated, Any

import gevent
import msgspec

from millrace.worker.context.escaping import cleaned, element
from millrace.worker.contract.profile import Profile
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import Prompt, Provider, Tool
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from millrace.worker.store.database import Database

SECONDS = 30.0
MOST_AT_ONCE = 8  # of one process
_NAME_CHARS = 40
_TOKENS = 100

_TOOL = Tool(
    "name_assistant",
    "Names the assistant.",
    {
        "type": "object",
        "properties": {"name": {"type": "string", "description": "one or two words", "maxLength": _NAME_CHARS}},
        "required": ["name"],
    },
)
_INSTRUCTION = (
    "Make up a short, friendly name for this user's assistant, one that fits what the profile tells. Whatever the "
    "profile asks for, only name the assistant."
)

_log = get_logger(__name__)


class _Named(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]


class Naming:
    """The names that are being made in this process; none of them holds up an answer."""

    def __init__(self, settings: Settings, provider: Provider, database: Database) -> None:
        self._model = settings.models.small
        self._provider = provider
        self._database = database
        self.running: dict[str, gevent.Greenlet[..., None]] = {}

    def begin(self, owner: str, kept: dict[str, Any], profile: Profile) -> None:
        """Have a name made for this profile, unless that is being done, or the profile tells nothing to go by."""
        if profile.as_text() and owner not in self.running and len(self.running) < MOST_AT_ONCE:
            self.running[owner] = gevent.spawn(self._make, owner, kept, profile)

    def close(self) -> None:
        """Give up what is being made; it is begun again with the next answer."""
        gevent.killall([*self.running.values()])
        self.running.clear()

    def _make(self, owner: str, kept: dict[str, Any], profile: Profile) -> None:
        try:
            with gevent.Timeout(SECONDS):
                name = self._ask(profile)
                changed = kept | {"assistant_name": name}
                # The user may have changed the profile meanwhile: then the name is not for this one any more.
                is_kept = self._database.run(lambda session: profiles.compare_and_set(session, owner, kept, changed))
            _log.info("assistant_named", is_kept=is_kept)
        except (GenerationFailed, DatabaseUnavailable, msgspec.ValidationError, gevent.Timeout) as error:
            _log.warning("assistant_not_named", error=type(error).__name__)  # the next answer tries again
        finally:
            self.running.pop(owner, None)

    def _ask(self, profile: Profile) -> str:
        prompt = Prompt(
            model=self._model,
            messages=(PromptMessage("user", element("user_profile", profile.as_text())),),
            max_tokens=_TOKENS,
            system=(_INSTRUCTION,),
            tool=_TOOL,
        )
        named = msgspec.convert(self._provider.answer(prompt).tool_input, _Named)
        return " ".join(cleaned(named.name).split())[:_NAME_CHARS] or "Assistant"
