"""Writes `webapp/static/events.d.ts` anew: `python -m webapp.openapi`, after an event has changed."""

from webapp.openapi.typescript import write

if __name__ == "__main__":
    write()
