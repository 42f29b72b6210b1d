"""Memory in use, for the log."""

import os
import sys
from pathlib import Path

from regan import backend

_STATUS = Path("/proc/self/statm")  # Linux: sizes in pages; the second one is the resident set


def memory() -> dict[str, int]:
    """Bytes in use by this process now (`host`), and the peak so far on its GPU if there is one (`gpu`)."""
    gpu = backend.gpu_memory()
    return {"host": _host_memory()} | ({"gpu": gpu} if gpu else {})


def _host_memory() -> int:
    if _STATUS.is_file():
        return int(_STATUS.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not on Windows, where training is refused before this is called

    # No current figure elsewhere, so the peak: bytes on macOS, KiB on other systems.
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
