"""The packaged configuration under a path of this checkout: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`."""

# ruff: noqa: N999 - the name is gunicorn's

from millrace.webapp.gunicorn_config import *  # noqa: F403
