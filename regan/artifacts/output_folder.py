"""Output folders that appear whole or not at all."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from regan.common.system import sync_to_disk


@contextmanager
def writing(output: str | Path) -> Iterator[Path]:
    """Write a folder beside `output` and rename it when all went well.

    Args:
        output: The folder to make. It must not exist, or be empty.

    Yields:
        A fresh folder on the same disk. It becomes `output` when the block ends without an error, and is removed
        otherwise, so a half-written folder is never taken for a whole one.

    Raises:
        FileExistsError: `output` holds something already.
        PermissionError: Its parent cannot be written.
        NotADirectoryError: A file stands where a folder is needed.
    """
    target = Path(output)
    require_free(target)
    with ending_on_sigterm():
        partial = _partial_folder(target)
        try:
            yield partial
            _sync_files(partial)
            if target.is_dir():
                target.rmdir()
            os.replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an error does, so that what it wrote is removed: patients' images may be in it.

    A handler that is there already stays, and so does the default outside the main thread.
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
    raise SystemExit(128 + number)


@contextmanager
def writing_all(*outputs: str | Path) -> Iterator[tuple[Path, ...]]:
    """Write several folders; none is renamed before all are complete. See `writing`."""
    targets = [Path(output).absolute() for output in outputs]
    if len(set(targets)) < len(targets):
        raise ValueError(f"The outputs must be different folders. Received {', '.join(map(str, outputs))}.")
    with ExitStack() as stack:
        yield tuple(stack.enter_context(writing(target)) for target in targets)


def require_free(target: Path) -> None:
    """Refuse an output folder that holds something already; `Raises` as in `writing`."""
    try:
        occupied = target.is_dir() and any(target.iterdir())
        is_file = target.is_file()
    except OSError as error:
        raise _unwritable(target, error) from error
    if is_file:
        raise NotADirectoryError(f"The output must be a folder, but a file stands at {target}. Name another place.")
    if occupied:
        raise FileExistsError(
            f"The output folder must be new or empty, so that nothing is lost. Received {target}, which holds files. "
            "Remove it or name another one."
        )


def _partial_folder(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except (NotADirectoryError, FileExistsError) as error:
        raise NotADirectoryError(
            f"The output must lie in a folder, but part of its path {target.parent} is a file. Name another place."
        ) from error
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    partial.chmod(0o777 & ~_umask())
    return partial


def _unwritable(place: Path, error: OSError) -> PermissionError:
    return PermissionError(
        f"The output's parent folder must be writable. Received {place}: {error.strerror}. "
        "Choose another place or change its permissions."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_files(folder: Path) -> None:
    # A rename may reach the disk before the bytes do: after a power cut the folder would look whole.
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sync_to_disk(path)
