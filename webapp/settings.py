"""The web's view of the settings: what both tiers read, and what only the web can't do without."""

from worker.contract import settings as shared
from worker.contract.errors import SettingError
from worker.contract.settings import Settings


def load() -> Settings:
    """Read the settings from the environment; raises SettingError that names what is wrong or missing."""
    return check(shared.load())


def check(settings: Settings) -> Settings:
    """Return the settings where the web can start with them; raises SettingError where the secret key is missing."""
    if not settings.secret_key:
        raise SettingError("MILLRACE_SECRET_KEY: is not set; takes a long random text, the same for all web processes")
    return settings
