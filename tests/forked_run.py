"""`deploy/run.py` as a fork of the server of `forks.py`: the Python processes that it starts are forks of itself.

The supervisor runs without gevent's monkey patches, as always; its children get them back. A child is forked in the
place of `exec`, with its session, directory, streams and environment already its own, and then runs its command.
"""

import atexit
import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import gevent
from gevent import monkey

RUN = Path(__file__).resolve().parent.parent / "deploy" / "run.py"
_MODULES = ("os", "select", "selectors", "signal", "socket", "subprocess", "time")  # those that the supervisor waits in
# The local endpoint runs an event loop of asyncio, which would wait in gevent's.
_STARTED_ANEW = ("deploy.emulator",)
_Attributes = dict[tuple[ModuleType, str], Any]
_ABSENT = object()


def remove_patches() -> _Attributes:
    """Take gevent's patches off the modules that the supervisor waits in; returns them for `set_attributes`."""
    saved: dict[str, dict[str, Any]] = vars(monkey)["saved"]
    original = {
        (sys.modules[module], name): value for module in _MODULES for name, value in saved.get(module, {}).items()
    }
    patched: _Attributes = {(module, name): getattr(module, name, _ABSENT) for module, name in original}
    set_attributes(original)
    return patched


def set_attributes(attributes: _Attributes) -> None:
    """Set attributes of modules, or delete those that are absent."""
    for (module, name), value in attributes.items():
        if value is not _ABSENT:
            setattr(module, name, value)
        elif hasattr(module, name):
            delattr(module, name)


def replace_popen(patched: _Attributes) -> None:
    """Have each Python process that is started be a fork."""
    inherited = _open_descriptors()

    class ForkingPopen(subprocess.Popen[Any]):
        """Forks for `python -m` and `python -c`; starts everything else."""

        def __init__(self, args: Sequence[str | Path], **options: Any) -> None:
            command = [str(each) for each in args]
            is_python = Path(command[0]).name.startswith("python") and command[1] in ("-m", "-c")
            if is_python and command[2] not in _STARTED_ANEW:
                environment = cast("Mapping[str, str] | None", options.get("env"))
                options["preexec_fn"] = partial(_become, patched, inherited, command, environment or dict(os.environ))
            super().__init__(args, **options)

    subprocess.Popen = ForkingPopen


def _open_descriptors() -> set[int]:
    return {int(each) for each in os.listdir("/dev/fd")}


def _become(patched: _Attributes, inherited: set[int], command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Be the process of this command line, to its end."""
    code = 1
    try:
        # Also the pipe whose end tells the supervisor that all is well.
        for descriptor in _open_descriptors() - inherited:
            with suppress(OSError):  # the one that listed them
                os.close(descriptor)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        set_attributes(patched)
        gevent.reinit()
        gc.enable()
        os.environ.clear()
        os.environ.update(environment)
        code = _run(command)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _run(command: Sequence[str]) -> int:
    """Run a command line of Python; returns its exit code."""
    _, how, program, *arguments = command
    sys.argv[:] = ["-c" if how == "-c" else program, *arguments]
    try:
        if how == "-c":
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    return 0


if __name__ == "__main__":
    replace_popen(remove_patches())
    sys.argv[0] = str(RUN)
    runpy.run_path(str(RUN), run_name="__main__")
