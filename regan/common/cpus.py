"""How many CPUs this process may use: its affinity and its cgroup's CPU limit, not the cores of the node.

TensorFlow, JAX, OpenBLAS and OpenMP count the CPUs of the process's affinity by themselves (measured: `taskset -c 0` on
2 cores gives one thread in each). None of them reads the CPU limit of a cgroup, which is what Kubernetes makes of
`resources.limits.cpu`: a pod with 2 CPUs on a node of 64 cores starts 64 threads, which use up the pod's share of each
period at once and then all wait for the next one.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

# Read by OpenMP and OpenBLAS, by TensorFlow's two pools, and by XLA's pool in JAX, when each library starts.
VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")


def available_cpus(*, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> int:
    """CPUs that this process may use at the same time, at least 1.

    The smaller of the affinity and the CPU limit; a limit of 1.5 CPUs counts as 2, since one thread could not use it.

    Args:
        mount: Where cgroups are mounted.
        membership: File that lists the cgroups of the process, as `/proc/self/cgroup`.
    """
    limit = cpu_limit(mount=mount, membership=membership)
    return _schedulable_cpus() if limit is None else max(1, min(_schedulable_cpus(), math.ceil(limit)))


def cpu_limit(*, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> float | None:
    """CPU limit of the process's cgroup and of those above it, in CPUs; None where there is none.

    Args:
        mount: Where cgroups are mounted.
        membership: File that lists the cgroups of the process.
    """
    limits = [_limit(folder) for folder in _folders(mount, membership)]
    return min((limit for limit in limits if limit is not None), default=None)


def limit_threads() -> None:
    """Let the numerical libraries start as many threads as the CPU limit allows; call it before they are imported.

    Nothing changes without a limit below the affinity, so that results stay the same bit for bit there (ADR 16), and a
    variable that is set already is kept.
    """
    cpus = available_cpus()
    if cpus < _schedulable_cpus():
        for name in VARIABLES:
            os.environ.setdefault(name, str(cpus))


def _schedulable_cpus() -> int:
    # Not on macOS and Windows, which have no such affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folders(mount: Path, membership: Path) -> Iterator[Path]:
    """Folders of the process's CPU cgroup and of those above it, version 1 or 2; some may not exist.

    Inside a container the path may be that of the host, of which only the root is mounted: it comes last.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = PurePosixPath(path.lstrip("/"))
        # Version 2 has no list of controllers. Version 1 has a folder for "cpu", often a link to that of "cpu,cpuacct".
        for root in [mount / "cpu", mount / controllers] if controllers else [mount, mount / "unified"]:
            yield from (root / part for part in (place, *place.parents))


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period")
            )
        limit = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return None
    return limit if limit > 0 else None  # version 1 writes -1 for none
