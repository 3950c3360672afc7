"""Who the user is, as told in the profile, and what the assistant is called there."""

from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.naming import Naming
from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.contract.profile import parse_profile
from millrace.worker.observability.logs import get_logger

_log = get_logger(__name__)


class UserProfile:
    """The owner's profile; where it has no name for the assistant, one is made for the next answer."""

    name = "profile"

    def __init__(self, reader: ContextLoader, naming: Naming) -> None:
        self.seconds = reader.seconds
        self._reader = reader
        self._naming = naming

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the profile, None where there is none or a damaged one; raises DatabaseUnavailable."""
        kept = self._reader.kept(question).profile
        if kept is None:
            return None
        profile = parse_profile(kept)
        if profile is None:
            _log.warning("profile_ignored", generation=question.generation)
            return None
        if profile.assistant_name is None:
            self._naming.begin(question.owner, kept, profile)
        return ContextPart(assistant_name=profile.assistant_name or "", about_user=profile.as_text())
