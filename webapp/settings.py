"""The web's view of the settings: what both tiers read, and what only the web can't do without."""

from millrace.webapp.auth.function import import_function
from millrace.webapp.auth.tokens import key_of
from millrace.worker.contract import settings as shared
from millrace.worker.contract.errors import SettingError
from millrace.worker.contract.settings import Settings


def load() -> Settings:
    """Read the settings from the environment; raises SettingError that names what is wrong or missing."""
    return check(shared.load())


def check(settings: Settings) -> Settings:
    """Return the settings where the web can start with them.

    Raises SettingError where what one of them needs is missing or does not go together.
    """
    match settings.auth:
        case "session" if not settings.secret_key:
            raise SettingError(
                "MILLRACE_SECRET_KEY: is not set; takes a long random text, the same for all web processes"
            )
        case "header" if not settings.auth_header:
            raise SettingError(
                "MILLRACE_AUTH_HEADER: is not set; with MILLRACE_AUTH=header a proxy names the owner in it"
            )
        case "jwt":
            key_of(settings)
        case path if ":" in path:
            import_function(path)
        case _:
            pass
    _check_unused(settings)
    return settings


def _check_unused(settings: Settings) -> None:
    """Raise SettingError for what is set and would be passed over: somebody believes that it protects them."""
    used = {"header": ("auth_header",), "jwt": ("jwt_",)}.get(settings.auth, ())
    for name in ("auth_header", *(each for each in Settings.__dataclass_fields__ if each.startswith("jwt_"))):
        if getattr(settings, name) and not name.startswith(used):
            raise SettingError(f"MILLRACE_{name.upper()}: has no effect with MILLRACE_AUTH={settings.auth}")
