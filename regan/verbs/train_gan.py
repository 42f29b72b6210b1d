"""Train StyleGAN2 on an image set."""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from regan.artifacts.entry import Curve
    from regan.artifacts.image_set import ImageSet
    from regan.gan.configuration import GanConfig
    from regan.gan.trainer import OnSnapshot, TrainingResult

_LOG = logging.getLogger("regan")
_NUM_MEASURED = 2_000  # synthetic images per snapshot for the distances in TensorBoard


@dataclass(frozen=True)
class TrainedGan:
    """Result of `train_gan`.

    Attributes:
        path: The run: snapshots, log, TensorBoard files.
        kimg: Thousands of real images shown.
        num_snapshots: Number of snapshots kept.
        seconds: Training time over all starts.
    """

    path: Path
    kimg: float
    num_snapshots: int
    seconds: float


def train_gan(
    images: str | Path,
    run: str | Path,
    *,
    label: str = "all",
    preset: Literal["demo", "config-e", "config-f"] = "config-e",
    kimg: float = 0.0,
    keep_snapshots: int = 25,
    features: str = "",
    augment: Literal["none", "mirror", "ada"] = "mirror",
    precision: Literal["float32", "bfloat16"] = "float32",
    mapping_layers: int = 0,
    batch_size: int = 0,
    r1_gamma: float = 0.0,
    start_uri: str = "",
    checkpoint_uri: str = "",
    checkpoint_minutes: float = 5.0,
    devices: int = 0,
    seed: int = 0,
) -> TrainedGan:
    """Train StyleGAN2 on an image set. To resume an interrupted training, run the same command again.

    On a CPU with the same number of cores, a resumed training ends with bit-identical weights.

    Args:
        images: Image set to train on.
        run: Folder to write, created when training is complete. Until then the work is in `<run>.checkpoint` beside it.
        label: Class to train on; "all" = every class, with one class-conditional network.
        preset: Networks and training: "demo" (minutes on a laptop at 32 x 32), "config-e" or "config-f" (days on a GPU
            at 256 x 256).
        kimg: Length of training in thousands of real images shown; 0 = the preset's.
        keep_snapshots: Maximum number of snapshots kept, thinned evenly as training proceeds.
        features: Feature extractor of the distances that TensorBoard shows during training: "radiomic", a
            keras.applications network, or the folder of a classifier; empty = not computed. 2,000 images are generated
            for it, at psi 1.
        augment: Augmentation of the discriminator's images: "none"; "mirror" = real images are mirrored at random;
            "ada" = adaptive discriminator augmentation too, for a few thousand images or fewer. `ada` also moves,
            rotates, scales and recolours real and synthetic images, the more the better the discriminator has memorised
            the real ones.
        precision: "float32", or "bfloat16" = half precision for the convolutions at the four largest image sizes. It is
            faster on GPUs with bfloat16 units; weights, losses and images stay float32.
        mapping_layers: Number of dense layers in the mapping network; 0 = the preset's. An official network of the
            configuration `auto` has 2.
        batch_size: Images per step, a multiple of 4; 0 = the preset's. It decides how much memory a GPU needs.
        r1_gamma: Weight of the R1 penalty; 0 = the preset's for the size of the images. R1 penalises the gradient of
            the discriminator at real images (Mescheder et al. 2018).
        start_uri: Stable URI of released generators: GAN training starts from the latest, and publish_images adds the
            new one; empty = start from random weights and keep none. The folder of one generator works too. Preset,
            mapping layers, size and labels must be those of the new training; grey may start from RGB and RGB from
            grey. The discriminator is new unless the folder holds one, as after `import_nvidia`. Read only when
            training starts, not when it resumes.
        checkpoint_uri: Stable URI or mounted folder for checkpoints, from which training resumes after a preemption;
            empty = stored next to the output and lost with the pod. Checkpoints are at `<checkpoint_uri>/<label>/<hash
            of configuration, start_uri and images>`, so that several trainings can share a URI, and are kept when
            training is complete. A local folder is used in place. With a URI (gs://, s3://), the state is downloaded
            first, and uploaded with each checkpoint and on SIGTERM; TensorBoard with `checkpoint_uri` as its log folder
            shows all trainings below it.
        checkpoint_minutes: Maximum time between two checkpoints in minutes. One is also written with every snapshot.
        devices: Number of devices that share each batch, in shares of a multiple of 4 images; 0 = as many of the
            visible ones as possible. Their number may change when training resumes.
        seed: Seed of the GAN's initial weights, latents, noise and order of images.

    Returns:
        The run, its length and its snapshots.

    Raises:
        SettingError: A setting is out of range.
        TooFewImagesError: There are no images of the class.
        CheckpointMismatchError: The checkpoint belongs to another configuration or other images.
        OutputExistsError: `run` is not empty.
        TrainingStoppedError: SIGTERM was received; the same command resumes from the checkpoint.
        TakenOverError: Another process has since started training with the state at `checkpoint_uri`.
        TrainingDivergedError: A loss or gradient is no longer finite or within bounds, or the discriminator has won
            for good. The last good snapshot and checkpoint stay in the work folder.
    """
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.output_folder import require_empty_output
    from regan.common.errors import SettingError, TooFewImagesError
    from regan.gan.configuration import configure
    from regan.gan.inputs import decode
    from regan.training.checkpoint import CHECKPOINTS, contents_hash, identity_hash
    from regan.training.workspace import StateFiles, open_workspace, require_checkpoint_minutes

    started = time.monotonic()
    require_empty_output(Path(run))
    require_checkpoint_minutes(checkpoint_minutes)
    if keep_snapshots < 2:
        raise SettingError(f"keep_snapshots={keep_snapshots} is too small: use 2 or more.")
    source = ImageSet.open(images)
    rows = source.rows if label == "all" else source.with_label(label)
    labels = source.classes if label == "all" else (label,)
    for name in labels:
        if not source.counts.get(name):
            raise TooFewImagesError(
                f"No images of class {name!r} in {images}. It contains {', '.join(source.counts)}; set `label` to one "
                "of them, or to 'all'."
            )
    config = configure(
        preset,
        size=source.size,
        channels=source.channels,
        labels=labels,
        seed=seed,
        kimg=kimg,
        augment=augment,
        precision=precision,
        mapping_layers=mapping_layers,
        **{name: value for name, value in {"batch_size": batch_size, "r1_gamma": r1_gamma}.items() if value},
    )
    training_index = {(row.sha256, row.group) for row in rows} | source.training_index()
    # Left out where empty: the hash of a run from random weights does not depend on this parameter.
    own = {"start_uri": start_uri} if start_uri else {}
    identity = identity_hash(verb="train_gan", configuration=config.hash(), images=contents_hash(rows), **own)
    files = StateFiles(fixed=("snapshots", "start"), growing=("log.jsonl", "tensorboard"), tensorboard="tensorboard")
    with open_workspace(Path(run), checkpoint_uri, files=files, configuration=identity, label=label) as work:
        # Imported here because the framework takes seconds to load, and wrong arguments should fail before that.
        from regan.gan.initial_weights import load_initial_weights
        from regan.gan.trainer import Trainer

        begun = any((work.folder / CHECKPOINTS).iterdir())
        start = load_initial_weights(start_uri, label, work.folder, begun=begun)
        training_index |= start.training_index if start else set()
        trainer = Trainer(
            config,
            decode(source, rows, labels, work.folder),
            work.folder,
            classes=source.classes,
            configuration=identity,
            training_index=training_index,
            start=start,
            keep_snapshots=keep_snapshots,
            checkpoint_seconds=60 * checkpoint_minutes,
            devices=devices,
            on_snapshot=_measuring(source, labels, features) if features else None,
            on_checkpoint=work.sync,
            on_step=work.check,
        )
        result = trainer.run()
        work.finish()
        origin = start.provenance() if start else {}
        settings = {"label": label, "preset": preset, "keep_snapshots": keep_snapshots}
        classes = list(source.classes)
        seconds = time.monotonic() - started
        return _write_run(
            Path(run), work.folder, images, config, result, classes, origin, settings, training_index, seconds
        )


def _measuring(images: "ImageSet", labels: tuple[str, ...], features: str) -> "OnSnapshot":
    """A function that measures a snapshot's distances to the real images."""
    from regan.gan.sampling import Generator
    from regan.quality.extractors import feature_extractor
    from regan.quality.snapshots import SnapshotMeasure

    measure = SnapshotMeasure(images, labels, feature_extractor(features))
    seeds = range(_NUM_MEASURED // len(labels))

    def distances(snapshot: Path, kimg: float) -> dict[str, float]:
        generator = Generator.load(snapshot)
        row, _ = measure(lambda label: generator.images(seeds, label))
        _LOG.info(
            "Snapshot of %g kimg: kernel distance %.4g, Frechet distance %.4g (%s)",
            kimg,
            row["kernel_distance"],
            row["frechet_distance"],
            features,
        )
        return {name: value for name, value in row.items() if "distance" in name}

    return distances


def _write_run(
    run: Path,
    work: Path,
    images: str | Path,
    config: "GanConfig",
    result: "TrainingResult",
    classes: list[str],
    origin: dict[str, str],
    settings: dict[str, Any],
    training_index: set[tuple[str, str]],
    seconds: float,
) -> TrainedGan:
    """Copy the results out of the work folder, and write model and history."""
    from regan.artifacts.entries import SAMPLES, TrainGanEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.history import contact_sheet
    from regan.artifacts.model import write_model
    from regan.artifacts.output_folder import atomic_folder
    from regan.gan.log import LOG, TENSORBOARD, read_log
    from regan.gan.sampling import SNAPSHOTS, snapshots

    model = {
        "classes": classes,
        "preset": settings["preset"],
        **origin,
        "configuration": config.to_dict(),
        "labels": list(config.labels),
        "size": config.size,
        "channels": config.channels,
        "kimg": result.kimg,
    }
    with atomic_folder(run) as folder:
        for part in (SNAPSHOTS, TENSORBOARD):
            shutil.copytree(work / part, folder / part)
        shutil.copyfile(work / LOG, folder / LOG)
        write_model(folder, kind="run", weights=None, metadata=model, training_index=training_index)
        num_snapshots = len(snapshots(folder))
        curves: dict[str, Any] = _curves(read_log(work))
        entry = TrainGanEntry(
            **settings,
            configuration={**config.to_dict(), **origin},
            num_snapshots=num_snapshots,
            kimg=result.kimg,
            images_per_second=result.images_per_second,
            num_parameters_generator=result.num_parameters["generator"],
            num_parameters_discriminator=result.num_parameters["discriminator"],
            **curves,
        )
        sheets = {SAMPLES: contact_sheet(result.samples)}
        write_entry(folder, entry, {"images": images}, thumbnails=sheets, seconds=seconds)
    return TrainedGan(path=run, kimg=result.kimg, num_snapshots=num_snapshots, seconds=result.seconds)


def _curves(lines: list[dict[str, float]]) -> dict[str, "Curve"]:
    """Curves over kimg of the logged values that the entry names, for those that were computed."""
    from regan.artifacts.entries import TrainGanEntry
    from regan.artifacts.entry import Curve, keys_of

    curves = {}
    for name, key in keys_of(TrainGanEntry, "curves").items():
        points = [(line["kimg"], line[key]) for line in lines if key in line]
        if points:
            x, y = zip(*points, strict=True)
            curves[name] = Curve(x, y, x_label="kimg", y_label=key.replace("_", " "))
    return curves
