"""Output folders that appear complete or not at all."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from regan.common.errors import OutputError, OutputExistsError, SettingError
from regan.common.system import sync_to_disk


@contextmanager
def atomic_folder(output: str | Path) -> Iterator[Path]:
    """Write a temporary folder beside `output` and rename it when the block succeeds.

    Args:
        output: The folder to make. It must not exist, or be empty.

    Yields:
        A new folder on the same disk. It becomes `output` when the block ends without an error, and is removed
        otherwise, so that nobody takes an incomplete folder for a complete one.

    Raises:
        OutputExistsError: `output` is not empty.
        OutputError: Its parent cannot be written, or a file is where a folder is needed.
    """
    target = Path(output)
    require_empty_output(target)
    with exit_on_sigterm():
        partial = _partial_folder(target)
        try:
            yield partial
            _sync_files(partial)
            if target.is_dir():
                target.rmdir()
            os.replace(partial, target)  # one step for every reader, because both are on the same disk
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like an error, so that its files are removed: they may be images of patients.

    A handler that is set already stays. Outside the main thread the default stays, because Python sets handlers in the
    main thread only.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # the exit status by which a shell reports a signal: 143 for SIGTERM


@contextmanager
def atomic_folders(*outputs: str | Path) -> Iterator[tuple[Path, ...]]:
    """Write several folders as `atomic_folder` does; none is renamed before all are complete."""
    targets = [Path(output).absolute() for output in outputs]
    if len(set(targets)) < len(targets):
        raise SettingError(
            f"Two outputs are the same folder. Received {', '.join(map(str, outputs))}. Use a folder for each output."
        )
    with ExitStack() as stack:
        yield tuple(stack.enter_context(atomic_folder(target)) for target in targets)


def require_empty_output(target: Path) -> None:
    """Refuse an output folder that is not empty; `Raises` as in `atomic_folder`."""
    try:
        occupied = target.is_dir() and any(target.iterdir())
        is_file = target.is_file()
    except OSError as error:
        raise _unwritable(target, error) from error
    if is_file:
        raise OutputError(f"{target} is not a directory. Use another output folder.")
    if occupied:
        raise OutputExistsError(
            f"The output folder {target} is not empty. Remove it, or use another one; nothing was overwritten."
        )


def _partial_folder(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except (NotADirectoryError, FileExistsError) as error:
        raise OutputError(
            f"{target.parent} is not a directory: part of the path is a file. Use another output folder."
        ) from error
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    # `mkdtemp` lets its owner only read the folder, and the next step in a container may be another user.
    partial.chmod(0o777 & ~_umask())
    return partial


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{folder} is not writable: {error.strerror}. Change its permissions, or use another output folder."
    )


def _umask() -> int:
    # The system has no call that only reads the mask.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_files(folder: Path) -> None:
    # A rename may reach the disk before the bytes do: after a power cut the folder would look complete.
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sync_to_disk(path)
