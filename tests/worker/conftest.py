"""The worker's tests run as the worker does: patched by gevent, before anything else is imported."""

from gevent import monkey

monkey.patch_all()
