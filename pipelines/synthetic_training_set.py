"""The pipeline: from labelled real images to a synthetic training set and a verdict on it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineChannel, PipelineParameterChannel

from pipelines import steps
from pipelines.steps import Checked, Prepared, Settings
from regan.common.errors import SettingError

NAME = "synthetic-training-set"
MOST_SHARDS = 16  # of one class: Kubeflow's loops fail above (kubeflow/pipelines #12131)


def synthetic_training_set(
    *, conditional: bool = True, rounds: int = 1, generation_shards: int = 1
) -> dsl.base_component.BaseComponent:
    """Make the pipeline.

    The teacher is trained on real images, the student on synthetic images whose label the teacher confirms, and the
    control on as many unfiltered ones: the filter can write the teacher's rule into worthless images, and only the
    control shows it. All three are evaluated once, on the same test images.

    Args:
        conditional: One class-conditional network for both classes; otherwise one network for each class.
        rounds: Rounds of new synthetic images on which student and control continue to train; image i of class k (0 or
            1) in round r (from 0) has seed first_seed + ((r * 2 + k) * per_round) + i.
        generation_shards: Steps that share the seeds of each class and round, 1 to 16. Kubeflow does not retry steps of
            a loop, so the default is one step and no loop.

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
            source_uri: Folder, zip archive or gs:// or s3:// address with one folder of images for each class.
            negative_class: Class without the finding; empty = told by the source, where it has two classes.
            positive_class: Class with the finding that sensitivity counts; empty = the other class of the source.
            data_version: Any text that changes with the content of the source, so that the cache serves no old data;
                empty = made from the listing of the source.
            data_unchanged: "stop" = the run ends early when the source and every setting are those of the last verdict
                at `report_uri`; "run" = it does not.
            data_split_uri: Stable address where the split into training, validation and test is kept over runs, so
                that no test image ever becomes a training image; `gan_start_uri` needs it; empty = the split is made
                anew.
            data_size: Side of the square images in pixels, a power of two from 32.
            data_channels: 1 for grey, 3 for RGB.
            data_mask_pattern: Files whose name fits this pattern are lesion masks and are left out.
            data_validation_fraction: Share of the training images that go to validation, 0 to 1.
            data_seed: Seed of the split.
            test_per_class: Real images of each class that only the final evaluation sees.
            gan_preset: Row of the table of presets: "demo", "config-e" or "config-f".
            gan_kimg: Length of GAN training in thousands of real images shown; 0 = the preset's.
            gan_keep_snapshots: Snapshots kept at most.
            gan_augment: "none", "mirror" = real images are flipped left to right at random, or "ada" = adaptive
                augmentation besides, for a few thousand images or fewer.
            gan_precision: "float32", or "bfloat16" = GAN training in half precision, for GPUs that have units for it.
            gan_mapping_layers: Dense layers of the mapping network, such as those of an official network at
                `gan_start_uri`; 0 = the preset's.
            gan_start_uri: Stable address where released generators are kept and where GAN training starts from the last
                one; needs `data_split_uri`, because a split that is made anew tests with images that have trained
                the kept generator; empty = from random weights, and none is kept.
            gan_seed: Seed of GAN training.
            gan_features: Feature extractor that picks the snapshot: "radiomic" or a keras.applications network.
            gan_selection_images: Synthetic images made with each snapshot to pick one.
            gan_seeds: Latent seeds of the negative class, first and last; the positive class takes the next range.
            gan_truncation_psi: Spread of the latents: 0 = the average image, 1 = as trained, above 1 = wider.
            classifier_backbone: Name of a keras.applications network, or "small" for small images.
            classifier_weights: Weights that the backbone starts from: "imagenet", "none" for random ones, or the
                address of a .weights.h5 file.
            classifier_recipe: "standard", or "reference" for the published experiment as it was.
            classifier_epochs: Epochs at most.
            classifier_batch_size: Images in a training step.
            classifier_seed: Seed of every classifier's training and of the draw of its images.
            classifier_filter_rule: Which synthetic images the student sees: "agreement", "confidence" or "none".
            classifier_filter_confidence: Least probability of the own class under the rule "confidence".
            classifier_images_per_class: Synthetic images of each class to train on; 0 = as many as pass the filter.
            report_features: Feature extractor of the audit: "radiomic" or a keras.applications network.
            report_max_memorised: Largest share of synthetic images that may be copies of training images.
            report_endpoint: What is compared: "auc", "accuracy", "sensitivity" or "specificity".
            report_margin: Largest loss that still counts as no worse, declared before the test.
            report_uri: Stable address where the report and the verdict are kept beside the last ones; empty = the
                artifact alone.
            report_release_uri: gs:// or s3:// address to copy the release to; empty = the artifact alone.
            report_title: Title of the release's datasheet; empty = made from the classes.
            gpu_type: Resource name of the GPUs.
            gpu_count: Number of GPUs of each step that runs a network, as text; "0" = none.
            gpu_count_gan: Number of GPUs of GAN training, as text.
            gpu_node_selector: Labels of the GPU nodes, as a JSON object; {} = any node.
            gpu_tolerations: Taints of the GPU nodes to tolerate, those of spot nodes too, as a JSON list; [] = none.
            gpu_checkpoint_uri: Stable gs:// or s3:// address, or mounted folder, for the states of training, each in a
                place of its own, from which a step goes on after it lost its node; empty = lost with the pod.
            gpu_checkpoint_minutes: Minutes between two pushes of that state.
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
    """All that the result depends on besides the source, one `name=value` a line."""
    place = {"data_version", "data_unchanged", "report_title"}
    place |= {name for name in given if name.startswith("gpu_") or name.endswith("_uri")} - {"gan_start_uri"}
    settings = {**graph, **{name: value for name, value in given.items() if name not in place}}
    return "\n".join(f"{name}={value}" for name, value in sorted(settings.items(), key=lambda setting: setting[0]))
