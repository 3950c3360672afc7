"""The one error of this room: something is missing that only the user can give."""


class Refusal(Exception):
    """The command can't go on; its text says in plain words what is missing and what to do."""
