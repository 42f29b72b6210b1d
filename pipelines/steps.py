"""The steps of the pipeline, each with its wiring: what it takes from the settings and from the steps before it.

The functions stand in the order of the graph. Each makes one kind of step inside the pipeline that is being built, asks
for its place on the cluster and returns what later steps need. The order of the calls numbers the tasks, so that it
shows in the compiled pipeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineChannel, PipelineParameterChannel

import components
from pipelines.placement import Gpu, on_cpu, on_gpu
from regan.runs.stages import step_name


@dataclass(frozen=True)
class Settings:
    """Parameters of the pipeline, each an attribute of its name, and what only a compile can change.

    Attributes:
        parameters: Channels by name of the parameter.
        conditional: One class-conditional network, not one for each class.
        rounds: Rounds of new images for student and control.
        generation_shards: Steps that share the seeds of each class and round.
    """

    parameters: Mapping[str, PipelineParameterChannel]
    conditional: bool
    rounds: int
    generation_shards: int

    def __getattr__(self, name: str) -> PipelineParameterChannel:
        try:
            return self.__dict__["parameters"][name]
        except KeyError:
            raise AttributeError(f"The pipeline has no parameter {name}.") from None

    @property
    def gpu(self) -> Gpu:
        """What the steps with a network ask for, except GAN training."""
        return Gpu(self.gpu_type, self.gpu_count, self.gpu_node_selector, self.gpu_tolerations)

    @property
    def gpu_gan(self) -> Gpu:
        """What GAN training asks for, and the preflight, which checks that it is there."""
        return Gpu(self.gpu_type, self.gpu_count_gan, self.gpu_node_selector, self.gpu_tolerations)


@dataclass(frozen=True)
class Checked:
    """Outputs of the preflight.

    Attributes:
        go: "yes" where there is something to compute.
        data_version: Text that changes with the source: part of every cache key, since all steps follow from it.
        run_key: Key of all settings that the result depends on.
        checkpoint_uri: Where the checkpoints of this training are kept.
    """

    go: PipelineChannel
    data_version: PipelineChannel
    run_key: PipelineChannel
    checkpoint_uri: PipelineChannel


@dataclass(frozen=True)
class Prepared:
    """The real images.

    Attributes:
        train: Training images.
        validation: Validation images.
        test: Test images, which only `evaluate` opens.
        classes: Names of the negative and of the positive class.
    """

    train: PipelineChannel
    validation: PipelineChannel
    test: PipelineChannel
    classes: tuple[PipelineChannel, PipelineChannel]


def explain_run() -> dsl.PipelineTask:
    """The exit task, which runs after every run."""
    task = components.explain_run(run_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)
    return on_cpu(task).set_caching_options(False)


def preflight(settings: Settings, text: str) -> Checked:
    """Check everything that can be checked before a day of training.

    Args:
        settings: The pipeline's.
        text: Every other parameter that the preflight reads, one `name=value` per line.
    """
    task = components.preflight(source_uri=settings.source_uri, settings=text)
    # Not cached: the source may have changed, and so may the machine.
    outputs = on_gpu(task, settings.gpu_gan).set_caching_options(False).outputs
    return Checked(*(outputs[name] for name in ("go", "data_version", "run_key", "checkpoint_uri")))


def prepare(settings: Settings, checked: Checked) -> Prepared:
    """Split the real images into training, validation and test."""
    task = components.prepare_images(
        source=settings.source_uri,
        negative_class=settings.negative_class,
        positive_class=settings.positive_class,
        size=settings.data_size,
        channels=settings.data_channels,
        test_per_class=settings.test_per_class,
        validation_fraction=settings.data_validation_fraction,
        mask_pattern=settings.data_mask_pattern,
        seed=settings.data_seed,
        split_uri=settings.data_split_uri,
        # Takes no part in the work: a changed source must change the cache key, and the URI alone does not.
        data_version=checked.data_version,
    )
    outputs = on_cpu(task).outputs
    train, validation, test = (outputs[name] for name in ("train", "validation", "test"))
    return Prepared(train, validation, test, (outputs["negative_class"], outputs["positive_class"]))


def train_classifier(
    settings: Settings,
    checked: Checked,
    real: Prepared,
    images: PipelineChannel,
    role: str,
    *,
    detail: str = "",
    start: PipelineChannel | None = None,
) -> PipelineChannel:
    """Train teacher, student or control.

    Args:
        settings: The pipeline's.
        checked: From the preflight.
        real: The real images; its validation images stop the training.
        images: What to train on.
        role: "teacher", "student" or "control".
        detail: The round, where there are several.
        start: Classifier to train further; None = from `classifier_weights`.
    """
    task = components.train_classifier(
        images=images,
        validation=real.validation,
        **({"start": start} if start else {}),
        backbone=settings.classifier_backbone,
        weights=settings.classifier_weights,
        recipe=settings.classifier_recipe,
        epochs=settings.classifier_epochs,
        batch_size=settings.classifier_batch_size,
        # Each classifier has a checkpoint of its own below the one URI.
        checkpoint_name="-".join(filter(None, (role, detail))),
        **_checkpoint(settings, checked),
        seed=settings.classifier_seed,
    )
    return _on_gpu(task, settings.gpu, f"train {role}", detail).outputs["classifier"]


def train_generators(settings: Settings, checked: Checked, real: Prepared) -> tuple[PipelineChannel, ...]:
    """Train the GAN and select a snapshot: once for both classes, or once for each class.

    Returns:
        One generator of both classes, or those of the negative and of the positive class.
    """
    if settings.conditional:
        return (_train_generator(settings, checked, real),)
    names = ("negative", "positive")
    return tuple(
        _train_generator(settings, checked, real, name, label=label)
        for name, label in zip(names, real.classes, strict=True)
    )


def _train_generator(
    settings: Settings, checked: Checked, real: Prepared, detail: str = "", **label: PipelineChannel
) -> PipelineChannel:
    trained = components.train_gan(
        images=real.train,
        preset=settings.gan_preset,
        kimg=settings.gan_kimg,
        keep_snapshots=settings.gan_keep_snapshots,
        augment=settings.gan_augment,
        precision=settings.gan_precision,
        mapping_layers=settings.gan_mapping_layers,
        start_uri=settings.gan_start_uri,
        **_checkpoint(settings, checked),
        seed=settings.gan_seed,
        **label,
    )
    run = _on_gpu(trained, settings.gpu_gan, "train GAN", detail).outputs["run"]
    selected = components.select_snapshot(
        run=run,
        images=real.train,
        features=settings.gan_features,
        num_images=settings.gan_selection_images,
        truncation_psi=settings.gan_truncation_psi,
    )
    return _on_gpu(selected, settings.gpu, "select snapshot", detail).outputs["generator"]


def generate(
    settings: Settings, generators: tuple[PipelineChannel, ...], real: Prepared, round_number: int, detail: str
) -> dict[str, PipelineChannel]:
    """Generate the synthetic images of both classes for one round.

    Args:
        settings: The pipeline's.
        generators: One of both classes, or one for each.
        real: For the names of the classes.
        round_number: Counted from 0.
        detail: The round in names of steps, where there are several.

    Returns:
        Image sets of "negative" and "positive"; with shards, the outputs of a loop, to be collected.
    """
    images = {}
    for k, name in enumerate(("negative", "positive")):
        # Ranges of seeds follow each other, round by round and class by class, so that no image is made twice.
        seeds = f"{settings.gan_seeds}+{round_number * 2 + k}"
        images[name] = _generate_class(settings, generators[k % len(generators)], real.classes[k], seeds, name, detail)
    return images


def _generate_class(
    settings: Settings, generator: PipelineChannel, label: PipelineChannel, seeds: str, name: str, detail: str
) -> PipelineChannel:
    def generate_seeds(seeds: str) -> PipelineChannel:
        task = components.generate_images(
            generator=generator, label=label, seeds=seeds, truncation_psi=settings.gan_truncation_psi
        )
        return _on_gpu(task, settings.gpu, f"generate {name}", detail).outputs["images"]

    number = settings.generation_shards
    if number == 1:
        return generate_seeds(seeds)
    shards = [f"{shard}/{number}" for shard in range(1, number + 1)]
    with dsl.ParallelFor(shards, name="-".join(filter(None, ("shards", name, detail)))) as shard:
        return generate_seeds(f"{seeds}:{shard}")


def filter_agreed(
    settings: Settings, generated: Mapping[str, PipelineChannel], teacher: PipelineChannel, detail: str
) -> dsl.PipelineTask:
    """Keep the synthetic images that the teacher agrees with: the student's."""
    rule = {
        "rule": settings.classifier_filter_rule,
        "confidence": settings.classifier_filter_confidence,
        "per_class": settings.classifier_images_per_class,
    }
    return _filter(settings, generated, teacher, "filter", detail, **rule)


def draw_control(
    settings: Settings,
    generated: Mapping[str, PipelineChannel],
    teacher: PipelineChannel,
    agreed: dsl.PipelineTask,
    detail: str,
) -> PipelineChannel:
    """Draw as many synthetic images as `agreed` kept, unfiltered: the control's."""
    # As many as the student has, or the control would differ in more than the filter.
    rule = {"rule": "none", "per_class": agreed.outputs["per_class"]}
    return _filter(settings, generated, teacher, "draw control", detail, **rule).outputs["images"]


def _filter(
    settings: Settings,
    generated: Mapping[str, PipelineChannel],
    teacher: PipelineChannel,
    step: str,
    detail: str,
    **rule: Any,
) -> dsl.PipelineTask:
    component, images = components.filter_images, dict(generated)
    if settings.generation_shards > 1:
        component = components.filter_image_shards
        # The compiler changes what is collected, so that each step needs a `Collected` of its own.
        images = {name: dsl.Collected(shards) for name, shards in generated.items()}
    task = component(**images, classifier=teacher, seed=settings.classifier_seed, **rule)
    return _on_gpu(task, settings.gpu, step, detail)


def audit(settings: Settings, real: Prepared, synthetic: PipelineChannel, detail: str) -> dsl.PipelineTask:
    """Search the synthetic images for copies of training images, and measure how close they are to the real ones."""
    task = components.audit_images(
        synthetic=synthetic,
        train=real.train,
        validation=real.validation,
        features=settings.report_features,
        max_memorised=settings.report_max_memorised,
    )
    return _on_gpu(task, settings.gpu, "audit images", detail)


def evaluate(settings: Settings, real: Prepared, classifier: PipelineChannel, role: str) -> PipelineChannel:
    """Let a classifier answer the test images; returns its predictions."""
    task = components.evaluate_classifier(classifier=classifier, images=real.test)
    return _on_gpu(task, settings.gpu, f"test {role}").outputs["predictions"]


def compare(
    settings: Settings, checked: Checked, predictions: Mapping[str, PipelineChannel], audited: dsl.PipelineTask
) -> PipelineChannel:
    """Compare student and control with the teacher; returns the report.

    Args:
        settings: The pipeline's.
        checked: From the preflight.
        predictions: On the test images, of "candidate", "reference" and "control".
        audited: Audit of the last round.
    """
    task = components.compare_classifiers(
        **predictions,
        audit=audited.outputs["audit"],
        endpoint=settings.report_endpoint,
        margin=settings.report_margin,
        report_uri=settings.report_uri,
        run_key=checked.run_key,
        data_version=checked.data_version,
    )
    # Not cached: it writes to `report_uri`, which the next run's preflight reads.
    return on_cpu(task).set_caching_options(False).outputs["report"]


def publish(
    settings: Settings,
    checked: Checked,
    generators: tuple[PipelineChannel, ...],
    synthetic: PipelineChannel,
    audited: dsl.PipelineTask,
    report: PipelineChannel,
    *,
    detail: str,
    is_last: bool,
) -> dsl.PipelineTask:
    """Release the synthetic images of one round; the last one also marks the run at `report_uri` as finished."""
    task = components.publish_images(
        images=synthetic,
        audit=audited.outputs["audit"],
        report=report,
        **dict(zip(("generator", "generator_positive"), generators)),
        generator_uri=settings.gan_start_uri,
        release_uri=settings.report_release_uri,
        # Named for the run and its round, so that a retried task replaces its own release and no other one.
        release_name="-".join(filter(None, (str(checked.run_key), detail))),
        title=settings.report_title,
        **({"report_uri": settings.report_uri, "run_key": checked.run_key} if is_last else {}),
    )
    # Not cached: it writes to `report_release_uri` and `gan_start_uri`.
    on_cpu(task).set_caching_options(False)
    return task.set_display_name(step_name("publish images", detail))


def _checkpoint(settings: Settings, checked: Checked) -> dict[str, PipelineChannel]:
    return {"checkpoint_uri": checked.checkpoint_uri, "checkpoint_minutes": settings.gpu_checkpoint_minutes}


def _on_gpu(task: dsl.PipelineTask, gpu: Gpu, step: str, *details: str) -> dsl.PipelineTask:
    return on_gpu(task, gpu).set_display_name(step_name(step, *details))
