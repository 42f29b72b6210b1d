"""The pipeline: from labelled real images to a synthetic training set and a verdict on it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineChannel, PipelineParameterChannel

from pipelines import steps
from pipelines.steps import Checked, Prepared, Settings
from regan.common.errors import SettingError
from regan.runs.parameters import MOST_SHARDS, PARAMETERS

NAME = "synthetic-training-set"


def synthetic_training_set(
    *, conditional: bool = True, rounds: int = 1, generation_shards: int = 1
) -> dsl.base_component.BaseComponent:
    """Make the pipeline.

    The teacher is trained on real images, the student on synthetic images whose label the teacher confirms, and the
    control on as many unfiltered ones: the filter can write the teacher's rule into worthless images, and only the
    control shows it. All three are evaluated once, on the same test images.

    Args:
        conditional: Train one class-conditional GAN for both classes, instead of one GAN per class.
        rounds: Number of rounds in which student and control continue training with new images. Image i of class k (0
            or 1) in round r (from 0) has seed first_seed + ((r * 2 + k) * per_round) + i.
        generation_shards: Number of steps that share the seeds of each class and round, 1 to 16. Kubeflow does not
            retry steps of a loop, so the default of one makes no loop.

    Returns:
        The pipeline, ready to compile.

    Raises:
        SettingError: `rounds` or `generation_shards` is out of range.
    """
    if rounds < 1 or not 1 <= generation_shards <= MOST_SHARDS:
        raise SettingError(
            "`rounds` or `generation_shards` is out of range. "
            f"Received rounds={rounds}, generation_shards={generation_shards}. "
            f"Use 1 or more rounds and 1 to {MOST_SHARDS} shards."
        )

    @dsl.pipeline(name=NAME)
    def pipeline(
        source_uri: str,
        negative_class: str = "",
        positive_class: str = "",
        data_version: str = "",
        data_unchanged: str = "stop",
        data_split_uri: str = "",
        data_size: int = 256,
        data_channels: int = 1,
        data_mask_pattern: str = "*_mask*",
        data_validation_fraction: float = 0.1,
        data_seed: int = 0,
        test_per_class: int = 150,
        gan_preset: str = "config-e",
        gan_kimg: float = 0.0,
        gan_keep_snapshots: int = 25,
        gan_augment: str = "mirror",
        gan_precision: str = "float32",
        gan_mapping_layers: int = 0,
        gan_start_uri: str = "",
        gan_seed: int = 0,
        gan_features: str = "radiomic",
        gan_selection_images: int = 2_000,
        gan_seeds: str = "1-25000",
        gan_truncation_psi: float = 1.6,
        classifier_backbone: str = "InceptionResNetV2",
        classifier_weights: str = "imagenet",
        classifier_recipe: str = "standard",
        classifier_epochs: int = 50,
        classifier_batch_size: int = 32,
        classifier_seed: int = 0,
        classifier_filter_rule: str = "agreement",
        classifier_filter_confidence: float = 0.9,
        classifier_images_per_class: int = 0,
        report_features: str = "radiomic",
        report_max_memorised: float = 0.01,
        report_endpoint: str = "auc",
        report_margin: float = 0.05,
        report_uri: str = "",
        report_release_uri: str = "",
        report_title: str = "",
        gpu_type: str = "nvidia.com/gpu",
        gpu_count: str = "1",
        gpu_count_gan: str = "1",
        gpu_node_selector: dict = {},  # noqa: B006
        gpu_tolerations: list = [],  # noqa: B006
        gpu_checkpoint_uri: str = "",
        gpu_checkpoint_minutes: float = 5.0,
    ):
        """Turn labelled real images into a synthetic training set, and say how good a classifier trained on it is.

        Args:
            source_uri: URI or path of the real images: a folder or zip archive with one subfolder for each class.
            negative_class: Class without the finding; empty = the first of the source's two classes in alphabetical
                order.
            positive_class: Class with the finding, which sensitivity counts; empty = the last of the source's two
                classes.
            data_version: Any text that changes with the content of the source; empty = a hash of its listing.
            data_unchanged: What to do when source and settings are those of the previous verdict: "stop", or "run"
                again.
            data_split_uri: Stable URI of the saved split, so that no test image ever becomes a training image; empty =
                a new split in each run. `gan_start_uri` needs it.
            data_size: Height and width of the images in pixels, a power of two from 32 to 1024.
            data_channels: 1 for grey, 3 for RGB.
            data_mask_pattern: Shell pattern for the names of lesion masks, which are left out; empty = there are none.
            data_validation_fraction: Fraction of the images outside the test set that goes to validation, above 0 and
                below 1.
            data_seed: Seed of the split.
            test_per_class: Test images of each class, which only the final evaluation reads.
            gan_preset: Networks and training: "demo" (minutes on a laptop at 32 x 32), "config-e" or "config-f" (days
                on a GPU at 256 x 256).
            gan_kimg: Length of training in thousands of real images shown; 0 = the preset's.
            gan_keep_snapshots: Maximum number of snapshots kept, thinned evenly as training proceeds.
            gan_augment: Augmentation of the discriminator's images: "none"; "mirror" = real images are mirrored at
                random; "ada" = adaptive discriminator augmentation too, for a few thousand images or fewer.
            gan_precision: "float32", or "bfloat16" = half precision for the convolutions at the four largest image
                sizes.
            gan_mapping_layers: Number of dense layers in the mapping network; 0 = the preset's.
            gan_start_uri: Stable URI of released generators: GAN training starts from the latest, and publish_images
                adds the new one; empty = start from random weights and keep none. Needs `data_split_uri`, because a new
                split would put images that trained the kept generator into the test set.
            gan_seed: Seed of the GAN's initial weights, latents, noise and order of images.
            gan_features: Feature extractor of the distances that select the snapshot: "radiomic", a keras.applications
                network, or the folder of a classifier.
            gan_selection_images: Synthetic images per snapshot for these distances, equally many of each class.
            gan_seeds: Latent seeds, first and last, such as "1-25000"; in the pipeline, each further class and round
                takes the next range of that length.
            gan_truncation_psi: Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1
                = more varied.
            classifier_backbone: Backbone of the classifiers: a keras.applications network, or "small" for images of 32
                x 32 or slightly larger.
            classifier_weights: Initial weights of the backbone: "imagenet", "none" = random, or the path or URI of a
                .weights.h5 file; "small" has only "none".
            classifier_recipe: Training recipe of the classifiers: "standard", or "reference" = the published experiment
                of 2021.
            classifier_epochs: Maximum number of epochs.
            classifier_batch_size: Images per training step of a classifier.
            classifier_seed: Seed of the classifiers' training and of the filter's draw of images.
            classifier_filter_rule: Synthetic images that are kept: "agreement" = the teacher predicts the image's own
                class; "confidence" = with a minimum probability; "none" = every image, as for the control.
            classifier_filter_confidence: Minimum probability of the image's own class under the rule "confidence", 0.5
                to 1.
            classifier_images_per_class: Images of each class to keep, drawn at random from those that pass; 0 = as many
                as the rarer class has.
            report_features: Feature extractor of the audit's distances: "radiomic", a keras.applications network, or
                the folder of a classifier.
            report_max_memorised: Maximum fraction of synthetic images that may be copies of training images, 0 to 1.
            report_endpoint: Endpoint of the comparison: "auc", "accuracy", "sensitivity" or "specificity".
            report_margin: Non-inferiority margin: the largest loss that counts as no worse, declared before the test,
                above 0 and below 1.
            report_uri: Stable URI where report and verdict are kept from run to run; empty = they are not kept.
            report_release_uri: URI that the release is copied to; empty = no copy.
            report_title: Title of the datasheet; empty = made from the classes.
            gpu_type: Kubernetes resource name of the GPUs.
            gpu_count: Number of GPUs of each step that runs a network, as text; "0" = none.
            gpu_count_gan: Number of GPUs of GAN training, as text; "0" = none.
            gpu_node_selector: Labels of the GPU nodes, as a JSON object; {} = any node.
            gpu_tolerations: Taints of the GPU nodes to tolerate, including those of spot nodes, as a JSON list; [] =
                none.
            gpu_checkpoint_uri: Stable URI or mounted folder for checkpoints, from which training resumes after a
                preemption; empty = stored next to the output and lost with the pod.
            gpu_checkpoint_minutes: Maximum time between two checkpoints in minutes.
        """
        given = {name: value for name, value in locals().items() if isinstance(value, PipelineParameterChannel)}
        settings = Settings(given, conditional=conditional, rounds=rounds, generation_shards=generation_shards)
        with dsl.ExitHandler(steps.explain_run(), name="run"):
            checked = steps.preflight(settings, _settings(given, conditional=conditional, rounds=rounds))
            with dsl.If(checked.go == "yes", name="something-new"):
                _graph(settings, checked)

    return pipeline


@dataclass(frozen=True)
class _Round:
    """What one round makes.

    Attributes:
        detail: The round in names of steps, from "1"; empty where there is one round.
        synthetic: Images that the teacher agrees with.
        student: Classifier trained on these, and in earlier rounds on theirs.
        control: The same on unfiltered images.
        audited: Audit of `synthetic`.
    """

    detail: str
    synthetic: PipelineChannel
    student: PipelineChannel
    control: PipelineChannel
    audited: dsl.PipelineTask


def _graph(settings: Settings, checked: Checked) -> None:
    """All steps after the preflight."""
    real = steps.prepare(settings, checked)
    teacher = steps.train_classifier(settings, checked, real, real.train, "teacher")
    generators = steps.train_generators(settings, checked, real)
    rounds: list[_Round] = []
    for number in range(settings.rounds):
        before = rounds[-1] if rounds else None
        rounds.append(_round(settings, checked, real, teacher, generators, number, before))
    # The order of these calls numbers the tasks of the compiled pipeline.
    predictions = {
        "candidate": steps.evaluate(settings, real, rounds[-1].student, "student"),
        "reference": steps.evaluate(settings, real, teacher, "teacher"),
        "control": steps.evaluate(settings, real, rounds[-1].control, "control"),
    }
    report = steps.compare(settings, checked, predictions, rounds[-1].audited)
    _publish(settings, checked, generators, rounds, report)


def _round(
    settings: Settings,
    checked: Checked,
    real: Prepared,
    teacher: PipelineChannel,
    generators: tuple[PipelineChannel, ...],
    number: int,
    before: _Round | None,
) -> _Round:
    detail = str(number + 1) if settings.rounds > 1 else ""
    generated = steps.generate(settings, generators, real, number, detail)
    agreed = steps.filter_agreed(settings, generated, teacher, detail)
    unfiltered = steps.draw_control(settings, generated, teacher, agreed, detail)
    synthetic = agreed.outputs["images"]
    start_student, start_control = (before.student, before.control) if before else (None, None)
    student = steps.train_classifier(settings, checked, real, synthetic, "student", detail=detail, start=start_student)
    control = steps.train_classifier(settings, checked, real, unfiltered, "control", detail=detail, start=start_control)
    audited = steps.audit(settings, real, synthetic, detail)
    return _Round(detail, synthetic, student, control, audited)


def _publish(
    settings: Settings,
    checked: Checked,
    generators: tuple[PipelineChannel, ...],
    rounds: list[_Round],
    report: PipelineChannel,
) -> None:
    """Release every round, where the audit of each has passed; one after the other, so that the last ends the run."""
    with contextlib.ExitStack() as all_passed:
        for done in rounds:
            name = "-".join(filter(None, ("audit", done.detail, "passed")))
            all_passed.enter_context(dsl.If(done.audited.outputs["verdict"] == "passed", name=name))
        before = None
        for done in rounds:
            task = steps.publish(
                settings,
                checked,
                generators,
                done.synthetic,
                done.audited,
                report,
                detail=done.detail,
                is_last=done is rounds[-1],
            )
            before = task.after(before) if before else task


def _settings(given: Mapping[str, PipelineParameterChannel], **graph: int) -> str:
    """What the preflight reads besides the source, one `name=value` per line."""
    values = {**graph, **given}
    names = sorted(name for name, row in PARAMETERS.items() if row.in_settings)
    return "\n".join(f"{name}={values[name]}" for name in names)
