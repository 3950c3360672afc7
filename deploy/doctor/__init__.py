"""The doctor, `deploy/run.py --check`: looks at everything that a deployment needs, and says what to do.

The law of this room: it runs in the environment, so it may import both tiers; a check changes nothing that a user sees.
"""
