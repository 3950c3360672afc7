"""Regenerate `webapp/static/events.d.ts` after an event has changed: `python -m millrace.webapp.openapi`."""

from millrace.webapp.openapi.typescript import write

if __name__ == "__main__":
    write()
