"""The web's entry: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`."""

import sys

from millrace.webapp import create_app
from millrace.worker.errors import SettingError

try:
    application = create_app()
except SettingError as error:
    sys.stderr.write(f"millrace: {error}\n")
    sys.exit(2)
