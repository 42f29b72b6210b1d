"""Trains a tiny network in a process of its own, so that a test can kill it: `train_tiny.py FOLDER KIMG [SECONDS]`.

Prints a line for each step, and at the end the hash of the last checkpoint's tensors.
"""

import hashlib
import logging
import sys
from pathlib import Path

import numpy as np
from conftest import tiny_config

from regan.gan.inputs import TrainingImages
from regan.gan.trainer import Trainer
from regan.training.checkpoint import CHECKPOINTS, load_checkpoint


def main(folder: Path, kimg: float, checkpoint_seconds: float) -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1), dtype=np.uint8)
    trainer = Trainer(
        tiny_config(kimg=kimg, snapshot_kimg=0.1, log_kimg=0.02),
        TrainingImages(pixels, np.arange(9) % 2),
        folder,
        classes=("benign", "malignant"),
        configuration="nine",
        training_index={("0" * 64, "")},
        checkpoint_seconds=checkpoint_seconds,
    )
    step = trainer._train_step
    trainer._train_step = lambda batches: (print("step", trainer.kimg, flush=True), step(batches))[1]
    trainer.run()
    checkpoint = load_checkpoint(folder / CHECKPOINTS, configuration="nine")
    print("state", state_hash(checkpoint.state), flush=True)


def state_hash(state: dict) -> str:
    digest = hashlib.sha256()
    for section in sorted(state):
        values = state[section] if isinstance(state[section], dict) else {"": state[section]}
        for path in sorted(values):
            digest.update(f"{section}:{path}".encode() + values[path].tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
