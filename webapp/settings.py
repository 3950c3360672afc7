"""Settings as the web tier needs them: those of both tiers, and the ones that only the web cannot start without."""

from millrace.webapp.guard.auth.function import import_function
from millrace.webapp.guard.auth.tokens import verification_key
from millrace.worker.errors import SettingError
from millrace.worker.settings import schema as shared
from millrace.worker.settings.schema import Settings


def load() -> Settings:
    """Read the settings from the environment; raises SettingError that names what is wrong or missing."""
    return check(shared.load())


def check(settings: Settings) -> Settings:
    """Return the settings where the web can start with them; raises SettingError otherwise."""
    shared.check(settings)
    match settings.auth.method:
        case "session" if not settings.auth.secret_key:
            raise SettingError(
                "MILLRACE_SECRET_KEY: is not set; takes a long random text, the same for all web processes"
            )
        case "jwt":
            verification_key(settings)
        case path if ":" in path:
            import_function(path)
        case _:
            pass
    return settings
