"""Writes `webapp/static/events.d.ts` anew: `python -m millrace.webapp.openapi`, after an event has changed."""

from millrace.webapp.openapi.typescript import write

if __name__ == "__main__":
    write()
