"""Who the user is, as told in the profile, and what the assistant is called there."""

import logging

from worker.context.naming import Naming
from worker.context.source import Piece, Question
from worker.contract.profile import profile_of
from worker.contract.settings import Settings
from worker.store import profiles
from worker.store.database import Database

_log = logging.getLogger(__name__)


class UserProfile:
    """The owner's profile; where it has no name for the assistant, one is made for the next answer."""

    name = "profile"

    def __init__(self, settings: Settings, database: Database, naming: Naming) -> None:
        self.seconds = settings.context_seconds
        self._database = database
        self._naming = naming

    def gather(self, question: Question) -> Piece | None:
        """Return the profile, None where there is none or a damaged one; raises StoreAway."""
        kept = self._database.run(lambda session: profiles.find(session, question.owner), self.seconds)
        if kept is None:
            return None
        profile = profile_of(kept)
        if profile is None:
            _log.warning("profile_ignored generation=%s", question.generation)
            return None
        if profile.assistant_name is None:
            self._naming.begin(question.owner, kept, profile)
        return Piece(assistant_name=profile.assistant_name or "", about_user=profile.told())
