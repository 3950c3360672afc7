"""Settings as the web tier needs them: those of both tiers, checked for what only the web tier requires."""

from millrace.webapp.guard.auth.function import import_function
from millrace.webapp.guard.auth.tokens import verification_key
from millrace.worker.errors import SettingError
from millrace.worker.settings import schema as shared
from millrace.worker.settings.schema import Settings


def load() -> Settings:
    """Read the settings from the environment; raises SettingError that names every bad or missing variable."""
    return check(shared.load())


def check(settings: Settings) -> Settings:
    """Return the settings if the web tier can start with them; raises SettingError."""
    shared.check(settings)
    match settings.auth.method:
        case "session" if not settings.auth.secret_key:
            raise SettingError(
                "MILLRACE_SECRET_KEY: is not set; takes 32 random bytes or more, the same for all web processes"
            )
        case "jwt":
            verification_key(settings)
        case path if ":" in path:
            import_function(path)
        case _:
            pass
    return settings
