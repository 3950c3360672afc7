"""The commands `run.py`, `test.py` and `migrate.py`, and what they need: an environment, processes, clear errors.

The law of this room: standard library only, because it runs before anything is installed. Only `doctor/` is for the
environment, where the commands start it.
"""
