"""The data of one owner, `deploy/data.py`.

The law of this room: it runs in the environment, and only adds a state directory's keys to the package's own command.
"""
