"""Containers without an engine: a process in a mount namespace, with a root, a user and rights of its own.

It sees the files of its image, the machine's `/usr` and nothing else of the machine; it shares the machine's network.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# The parts of the machine's own /etc that programs need.
_ETC = (
    *("passwd", "group", "shadow", "gshadow", "login.defs", "hosts", "host.conf", "nsswitch.conf", "resolv.conf"),
    *("ld.so.cache", "ssl", "ca-certificates", "localtime", "mime.types", "xdg", "pip.conf", "alternatives"),
)
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OF_THE_BASE = ("/usr", "/usr/local")


@cache
def obstacle() -> str:
    """Return why there can be no containers here, nothing where there can be."""
    if not (sys.platform == "linux" and Path("/bin").is_symlink()):
        return "containers without an engine need Linux with a merged /usr"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "--bind", "/usr", "/mnt"],
        check=False,
        capture_output=True,
    )
    return "" if tried.returncode == 0 else "containers without an engine need root's rights and mount namespaces"


def make_root(directory: Path) -> Path:
    """Make the root file system of a base image with Python, without its `/usr`, which is the machine's own."""
    for name in ("usr", "etc", "proc", "dev", "root", "opt", "var", "run"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").mkdir()
    (directory / "tmp").chmod(0o1777)
    for name in _LINKS:
        if Path("/", name).is_symlink():
            (directory / name).symlink_to(f"usr/{name}")
    for name in _ETC:
        found = Path("/etc", name)
        if found.is_dir():
            shutil.copytree(found, directory / "etc" / name, symlinks=True)
        elif found.exists():
            shutil.copy2(found, directory / "etc" / name)
    return directory


@dataclass(frozen=True)
class Container:
    """A container; `directory` is its `/tmp`, and without one it may write everywhere, as in a build."""

    root: Path
    user: str
    working_directory: str
    directory: Path | None
    environment: Mapping[str, str]
    binds: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def start(self, command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process in it, which gets signals under the process id of the result."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self._entering(command),
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def run(self, command: Sequence[str], seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end, as probes and health checks do; the output has the errors in it."""
        return subprocess.run(
            self._entering(command),
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _entering(self, command: Sequence[str]) -> list[str]:
        root = shlex.quote(str(self.root))
        lines = ["set -e", f"mount --bind {root} {root}", f"mount --bind /usr {root}/usr"]
        if sys.base_prefix not in _OF_THE_BASE:
            # At its own path as well: its libraries may name others by theirs.
            own = self.root / sys.base_prefix[1:]
            own.mkdir(parents=True, exist_ok=True)
            base = shlex.quote(sys.base_prefix)
            lines += [f"mount --bind {base} {place}" for place in (f"{root}/usr/local", shlex.quote(str(own)))]
        lines += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev")]
        if self.directory is not None:
            lines.append(f"mount --bind {shlex.quote(str(self.directory))} {root}/tmp")
        for target, source in self.binds.items():
            (self.root / target[1:]).mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {shlex.quote(str(source))} {root}{target}")
        user = ""
        if self.directory is not None:
            lines.append(f"mount -o remount,bind,ro {root}")
            number, _, group = self.user.partition(":")
            user = f"setpriv --reuid {number} --regid {group} --clear-groups --bounding-set -all --no-new-privs"
        lines.append(f'exec /usr/sbin/chroot {root} {user} env --chdir={self.working_directory} "$@"')
        return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", "\n".join(lines), "sh", *command]


def give(directory: Path, user: str) -> Path:
    """Make an empty directory that belongs to a user, and return it."""
    directory.mkdir(mode=0o700)
    number, _, group = user.partition(":")
    os.chown(directory, int(number), int(group))
    return directory
