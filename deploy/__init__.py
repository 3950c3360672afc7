"""The commands such as `run.py`, `test.py` and `migrate.py`, and what they need: an environment, processes, errors.

The law of this room: standard library only, because it runs before anything is installed. Only `doctor/` and
`owner_data/` are for the environment, where the commands start them.
"""
