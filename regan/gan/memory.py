"""Memory in use, for the log."""

import os
import sys
from pathlib import Path

from regan import backend

_STATUS = Path("/proc/self/statm")  # Linux: sizes in pages, the second one is what is in memory


def memory() -> dict[str, int]:
    """Bytes in use now by this process (`host`), and at most so far on its GPU where there is one (`gpu`)."""
    gpu = backend.gpu_memory()
    return {"host": _host_memory()} | ({"gpu": gpu} if gpu else {})


def _host_memory() -> int:
    if _STATUS.is_file():
        return int(_STATUS.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not on Windows, where training is refused before this is called

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
