"""What the machine has: GPUs by `nvidia-smi`, shared memory, disk."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from regan.runs.checks import Check
from regan.runs.costs import rounded_bytes

SHARED_MEMORY = Path("/dev/shm")
_GKE = Path("/usr/local/nvidia")  # where Google's clusters install the driver, outside PATH
_SECONDS = 30.0  # a driver that hangs does so forever
_GIB = 2**30
_LEAST_SHARED = 1.0  # GiB; the default of Kubernetes is 64 MiB
_LEAST_CUDA = (12, 0)  # the images bring CUDA 12, which runs on every driver from 525 on (CUDA's release notes)
_LEAST_CAPABILITY = (6, 0)  # Pascal: the oldest that TensorFlow's packages of CUDA 12 are built for
_NEWEST_CAPABILITY = (10, 0)  # newer ones are unknown to the packages and wait for a compiler at each start


@dataclass(frozen=True)
class Gpus:
    """What `nvidia-smi` reports.

    Attributes:
        names: One for each GPU.
        memory: MiB of each, as text.
        capabilities: Compute capability of each, empty where an old driver does not report it.
        driver: Version of the driver.
        cuda: Newest CUDA that the driver supports, empty where it is not reported.
        error: Why nothing is known; empty otherwise.
    """

    names: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    error: str = ""


def query_gpus() -> Gpus:
    """Query `nvidia-smi`; never raises."""
    program = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=str(_GKE / "bin"))
    if program is None:
        return Gpus(error="nvidia-smi not found: there is no GPU, or its driver is not mounted into this container")
    try:
        table = _query(program, "name,memory.total,driver_version,compute_cap")
        table = table or _query(program, "name,memory.total,driver_version")
        header = _output(program)
    except (OSError, subprocess.SubprocessError) as error:
        return Gpus(error=f"nvidia-smi failed: {error}")
    rows = [line.split(", ") for line in table.splitlines() if line.count(", ") >= 2]
    if not rows:
        return Gpus(error=f"nvidia-smi lists no GPU. Its output: {' '.join(header.split())[:200] or 'none'}")
    cuda = re.search(r"CUDA Version: *([\d.]+)", header)
    return Gpus(
        names=tuple(row[0] for row in rows),
        memory=tuple(row[1] for row in rows),
        capabilities=tuple(row[3] if len(row) > 3 else "" for row in rows),
        driver=rows[0][2],
        cuda=cuda[1] if cuda else "",
    )


def gpu_checks(gpus: Gpus, count: int) -> list[Check]:
    """Whether there are `count` GPUs with a driver that the images can use."""
    advice = (
        "Set gpu_count and gpu_count_gan to what a node has, the former to no more than the latter, which this step "
        "itself requests, and gpu_node_selector and gpu_tolerations so that it lands on a node with GPUs; "
        '"0" for both runs without.'
    )
    if gpus.error:
        return [Check("GPU", gpus.error, f"{count} GPU{'s' * (count > 1)}", "no", advice)]
    memory = " or ".join(sorted(set(gpus.memory)))
    listed = f"{len(gpus.names)} x {' or '.join(sorted(set(gpus.names)))}, {memory}"
    newer = "A newer driver on the nodes is needed."
    return [
        Check.from_result("GPU", listed, f"{count} or more", len(gpus.names) >= count, advice),
        Check("driver", gpus.driver),
        _cuda_check(gpus.cuda, newer),
        _architecture_check(gpus.capabilities),
    ]


def shared_memory_check(needs_gpu: bool, folder: Path = SHARED_MEMORY) -> Check:
    """Whether /dev/shm is large enough to pass batches through."""
    try:
        size = shutil.disk_usage(folder).total / _GIB
    except OSError as error:
        size, found = 0.0, f"cannot be read: {error.strerror}"
    else:
        found = f"{size:.2g} GiB" if size < 10 else f"{size:,.0f} GiB"
    if not needs_gpu:
        return Check("/dev/shm", found)
    advice = 'Mount a larger one: kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory"), or --shm-size.'
    return Check.from_result("/dev/shm", found, f"{_LEAST_SHARED:g} GiB or more", size >= _LEAST_SHARED, advice)


def disk_check(name: str, folder: str | Path, needed: int, what: str) -> Check:
    """Whether a folder's disk has room.

    Args:
        name: Name of the check.
        folder: It need not exist; the nearest folder above it is checked.
        needed: Bytes.
        what: What needs them.
    """
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check(
            name, f"cannot be read: {error}", f"{rounded_bytes(needed)} for {what}", "no", "Name another folder."
        )
    advice = "Use a larger disk (ephemeral-storage on a cluster, TMPDIR here), or fewer gan_seeds or snapshots."
    found, expected = f"{rounded_bytes(free)} free", f"{rounded_bytes(needed)} or more, for {what}"
    return Check.from_result(name, found, expected, free >= needed, advice)


def temporary_folder() -> str:
    """Where steps keep their temporary files."""
    return tempfile.gettempdir()


def _query(program: str, fields: str) -> str:
    return _output(program, f"--query-gpu={fields}", "--format=csv,noheader")


def _output(program: str, *arguments: str) -> str:
    """Output of the program; empty where it fails."""
    environment = dict(os.environ)
    if program.startswith(str(_GKE)):
        libraries = [str(_GKE / "lib64"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    ended = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode:
        return "" if arguments else ended.stdout + ended.stderr
    return ended.stdout


def _cuda_check(cuda: str, advice: str) -> Check:
    if not cuda:
        return Check("CUDA", "not reported by the driver")
    least = ".".join(map(str, _LEAST_CUDA))
    return Check.from_result("CUDA", f"up to {cuda}", f"{least} or newer", _version(cuda) >= _LEAST_CUDA, advice)


def _architecture_check(capabilities: tuple[str, ...]) -> Check:
    known = sorted({text for text in capabilities if re.fullmatch(r"\d+\.\d+", text)})
    found = f"compute capability {' and '.join(known) or 'not reported by the driver'}"
    if any(_version(text) < _LEAST_CAPABILITY for text in known):
        found += ": too old for the framework's packages; training may fall back to the processor"
    if any(_version(text) >= _NEWEST_CAPABILITY for text in known):
        found += ": newer than the framework's packages may know; the first steps may compile for minutes"
    return Check("architecture", found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
