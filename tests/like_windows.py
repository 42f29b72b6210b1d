"""Run a Python file in a process that looks like Windows: `python like_windows.py FILE ARGUMENTS`.

Nothing here can show that Windows works. It shows what breaks there for sure: modules and functions that it lacks,
folders that cannot be opened, files that cannot be flushed unless they are open for writing, and text whose encoding is
left to the system. Third-party packages, which support Windows, are imported before.
"""

import ast
import contextlib
import errno
import fcntl
import importlib
import os
import runpy
import shutil
import signal
import stat
import sys
import types
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("regan", "components", "pipelines")
MISSING_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline")
MISSING = {
    os: (
        *("O_DIRECTORY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "fork", "forkpty", "killpg", "setsid", "setpgid"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups", "chown", "lchown", "fchown", "statvfs", "sysconf"),
        *("uname", "getloadavg", "sched_getaffinity", "nice", "mkfifo", "pread", "pwrite", "sync", "wait3", "wait4"),
    ),
    signal: ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "pthread_sigmask"),
}
LK_NBLCK = 2


def load_packages() -> None:
    """Import everything that our code imports from others."""
    for path in (path for top in OURS for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                if name.split(".")[0] not in OURS and name.split(".")[0] != "msvcrt":
                    import_if_there(name)


def import_if_there(name: str) -> None:
    with contextlib.suppress(ImportError):  # an optional package, or a name inside a module
        importlib.import_module(name)


def locking(descriptor: int, mode: int, size: int) -> None:
    """As in the standard library's msvcrt, by the locks of Linux."""
    if os.lseek(descriptor, 0, os.SEEK_CUR) != 0 or mode != LK_NBLCK or size != 1:
        raise ValueError("only the first byte, without waiting")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def become_windows() -> None:
    """Take away what Windows lacks."""
    system_open, system_fsync, statvfs = os.open, os.fsync, os.statvfs
    sys.platform = "win32"
    sys.modules["msvcrt"] = types.ModuleType("msvcrt")
    vars(sys.modules["msvcrt"]).update(locking=locking, LK_NBLCK=LK_NBLCK)
    shutil._use_fd_functions = False  # as shutil finds out where it is imported
    for name in MISSING_MODULES:
        sys.modules[name] = None
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)

    def disk_usage(path):  # Windows has another one, not os.statvfs
        found = statvfs(path)
        return types.SimpleNamespace(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)

    def open_file(path, flags, *arguments, **options):
        if not isinstance(path, int) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return system_open(path, flags, *arguments, **options)

    def flush(file):
        descriptor = file if isinstance(file, int) else file.fileno()
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
            flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) or flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        system_fsync(descriptor)

    os.open, os.fsync, shutil.disk_usage = open_file, flush, disk_usage


if __name__ == "__main__":
    load_packages()
    become_windows()
    warnings.filterwarnings("error", category=EncodingWarning, module=rf"({'|'.join(OURS)})\b")
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    runpy.run_path(sys.argv[0], run_name="__main__")
