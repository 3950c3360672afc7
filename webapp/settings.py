"""Settings as the web tier needs them: those of both tiers, checked for what only the web tier requires."""

import re
import sys
from typing import NoReturn

from gevent.monkey import is_module_patched

from millrace.webapp.guard.auth.api_keys import KeyRing
from millrace.webapp.guard.auth.function import import_function
from millrace.webapp.guard.auth.tokens import verification_key
from millrace.worker.errors import SettingError
from millrace.worker.settings import schema as shared
from millrace.worker.settings.schema import Settings

EXIT_CODE = 3  # gunicorn's own for a worker that cannot start; after any other code it starts the next one for ever
SERVER_COMMAND = "gunicorn -c python:millrace.webapp.gunicorn_config"
_BLOCKING_WORKERS = ("gunicorn.workers.sync", "gunicorn.workers.gthread")  # imported only where they serve
_APPLICATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(.*\))?", re.ASCII)


def refuse_blocking_server() -> None:
    """End the process, with a sentence that has the right command, if it is a gunicorn worker without gevent.

    Ends it at once, because gunicorn prints a traceback for an exception.
    """
    if is_module_patched("socket") or not any(name in sys.modules for name in _BLOCKING_WORKERS):
        return
    application = next((each for each in sys.argv[1:] if _APPLICATION.fullmatch(each)), "yourapp:app")
    if "(" in application:
        application = f"'{application}'"
    end(f"streams need gevent workers. Start it with: {SERVER_COMMAND} {application}")


def end(reason: object) -> NoReturn:
    """End the process with one line, so that gunicorn ends as well."""
    sys.stderr.write(f"millrace: {reason}\n")
    sys.exit(EXIT_CODE)


def load() -> Settings:
    """Read the settings from the environment; raises SettingError that names every bad or missing variable."""
    return check(shared.load())


def check(settings: Settings) -> Settings:
    """Return the settings if the web tier can start with them; raises SettingError."""
    shared.check(settings)
    KeyRing(settings.auth.api_keys)
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
