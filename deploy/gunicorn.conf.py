"""The packaged configuration under a path of this checkout: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`."""

# ruff: noqa: N999 - the name is gunicorn's

from millrace.webapp.gunicorn_config import *  # noqa: F403  # isort: skip - patches the standard library first
from millrace.webapp import settings
from millrace.webapp.gunicorn_config import read_settings

read_settings(settings.load)  # in the master process, which a worker's refusal would not end
