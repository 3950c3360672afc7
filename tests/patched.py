"""A pytest plugin, `-p tests.patched`: both tiers run under gevent's monkey patches, and so do their tests.

It is loaded before anything that imports ssl, whatever the order of the folders.
"""

from gevent import monkey

monkey.patch_all()
