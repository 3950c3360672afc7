"""`python -m millrace.worker.store`: brings the database of the environment's settings up to date."""

import sys

from millrace.worker.errors import MillraceError
from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate

try:
    before, after = migrate(load())
except MillraceError as error:
    sys.exit(f"the database can't be brought up to date: {error}")
said = "as before" if before == after else f"before: {before or 'empty'}"
sys.stdout.write(f"the database is at {after} ({said})\n")
