"""The WSGI entry point: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`."""

import sys

from millrace import SettingError, create_app

try:
    application = create_app()
except SettingError as error:
    sys.stderr.write(f"millrace: {error}\n")
    sys.exit(2)
