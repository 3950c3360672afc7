"""The WSGI entry point: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`."""

from millrace import SettingError, create_app
from millrace.webapp import settings

try:
    application = create_app()
except SettingError as error:
    settings.end(error)
