"""A GAN so small that it trains uncompiled in seconds, and trainings in processes of their own, to be killed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regan.gan.configuration import PRESETS

# Two steps of 52 images a snapshot, which are named 0.1, 0.2, 0.3; both regularisations come again after a resume.
TINY = PRESETS["demo"] | {
    "base_maps": 16,
    "max_maps": 8,
    "latent_size": 8,
    "style_size": 8,
    "mapping_layers": 1,
    "batch_size": 52,
    "path_interval": 3,
    "r1_interval": 2,
    "kimg": 0.3,
    "snapshot_kimg": 0.1,
    "log_kimg": 0.1,
}

# Where each sync takes a while, a process can be killed between writing a file and renaming it.
PROGRAM = """
import json, logging, os, sys, time
logging.basicConfig(level=logging.INFO)
from regan.gan.configuration import PRESETS
verb, preset, compiled, sync_seconds, inputs, settings = json.loads(sys.argv[1])
PRESETS["tiny"] = preset
if not compiled:
    from regan import backend
    backend.jit = lambda function: function
fsync = os.fsync
os.fsync = lambda file: (time.sleep(sync_seconds), fsync(file))[1]
import regan
getattr(regan, verb)(*inputs, **settings)
"""


@contextmanager
def tiny_preset(preset: dict = TINY) -> Iterator[None]:
    """The preset `tiny`, and nothing compiled in this process."""
    from regan import backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", preset)
        patch.setattr(backend, "jit", lambda function: function)
        yield


@contextmanager
def process(
    verb: str,
    *inputs: object,
    messages: Path,
    tiny: dict = TINY,
    compiled: bool = False,
    sync_seconds: float = 0.0,
    **settings: object,
) -> Iterator[subprocess.Popen]:
    """A verb in a process of its own; its messages go to a file."""
    arguments = json.dumps([verb, tiny, compiled, sync_seconds, [str(path) for path in inputs], settings])
    command = [sys.executable, "-c", PROGRAM, arguments]
    with (
        messages.open("w") as file,
        subprocess.Popen(command, stderr=file, start_new_session=True) as started,
    ):
        try:
            yield started
        finally:
            started.kill()


def wait_until(
    condition: Callable[[], object], started: subprocess.Popen, messages: Path, every_seconds: float = 0.005
) -> None:
    """Wait for a moment in the life of a process."""
    end = time.monotonic() + 400
    while not condition():
        assert started.poll() is None, f"the training ended too early: {messages.read_text()[-3000:]}"
        assert time.monotonic() < end, "the moment never came"
        time.sleep(every_seconds)
