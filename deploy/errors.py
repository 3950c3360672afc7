"""The errors of the commands.

Exception
├── StartError      the command can't go on: something is missing that only the user can provide
├── ProgramExited   a program ended while the system was starting
├── StopRequested   Ctrl-C, SIGTERM, or a closed terminal
└── NoAnswer        the server rejected the question, or was unreachable for too long
"""

from deploy.system.programs import Program


class StartError(Exception):
    """The command can't go on; the text says in plain words what is missing and what to do."""


class ProgramExited(Exception):
    """A program ended during the start, which means that it can't start at all.

    `log_offset` is the byte of its log at which this process begins.
    """

    def __init__(self, program: Program, how: str, log_offset: int) -> None:
        super().__init__(f"{program.name} {how}")
        self.program = program
        self.log_offset = log_offset


class StopRequested(Exception):
    """The user or another process asked for the end."""


class NoAnswer(Exception):
    """The question has no answer; the text says why."""
