"""Regenerate the TypeScript declarations after a struct has changed: `python -m millrace.webapp.openapi`."""

from millrace.webapp.openapi.typescript import write

if __name__ == "__main__":
    write()
