"""The table of parameters: the one home of each name, type, default, allowed value and sentence.

The preflight, its costs, the run's keys, the launcher's `--set`, README's and the documentation's tables are derived
from it. Signatures of verbs, components and the pipeline stay written out, because Kubeflow and the command line read
them; tests/runs/test_parameters.py compares each with the table. To change a default: one line here, the signatures
that the test names, `python -m pipelines compile` and `python docs/parameters.py`.
"""

from dataclasses import replace

from regan.classifier.filtering import RULES
from regan.classifier.recipes import RECIPES
from regan.gan.configuration import AUGMENTATIONS, PRECISIONS, PRESETS, SIZES
from regan.preparation.split import LEAST_TO_TEST
from regan.runs.parameter_row import (
    NETWORKS,
    SEEDS,
    Boolean,
    Digits,
    Features,
    Kind,
    OneOf,
    Parameter,
    Real,
    SeedRange,
    Whole,
)
from regan.statistics.endpoints import ENDPOINTS

# Stages in the order of the pipeline, each with what its parameters are about.
STAGES = {
    "data": "the real images: where they are, classes, size, split",
    "graph": "the shape of the pipeline, fixed when it is compiled",
    "gan": "the GAN: length of training, choice of the snapshot, which images are generated",
    "classifier": "teacher, student and control, and the filter",
    "report": "the audit, the comparison and the release",
    "gpu": "the GPU nodes, and where training keeps its checkpoints",
}
MOST_SHARDS = 16  # of one class: Kubeflow's loops fail above (kubeflow/pipelines #12131)

_TABLE: dict[str, tuple[Parameter, ...]] = {
    "data": (
        Parameter(
            "source_uri",
            None,
            "URI or path of the real images: a folder or zip archive with one subfolder for each class.",
            ("preflight.source_uri", "prepare_images.source"),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "negative_class",
            "",
            "Class without the finding; empty = the first of the source's two classes in alphabetical order.",
            ("prepare_images.negative_class",),
            kind=Kind.TRAINING,
        ),
        Parameter(
            "positive_class",
            "",
            "Class with the finding, which sensitivity counts; empty = the last of the source's two classes.",
            ("prepare_images.positive_class",),
            kind=Kind.TRAINING,
        ),
        Parameter(
            "data_version",
            "",
            "Any text that changes with the content of the source; empty = a hash of its listing.",
            kind=Kind.CONTROL,
        ),
        Parameter(
            "data_unchanged",
            "stop",
            'What to do when source and settings are those of the previous verdict: "stop", or "run" again.',
            allowed=OneOf(("stop", "run")),
            kind=Kind.CONTROL,
        ),
        Parameter(
            "data_split_uri",
            "",
            "Stable URI of the saved split, so that no test image ever becomes a training image; "
            "empty = a new split in each run.",
            ("prepare_images.split_uri",),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "data_size",
            256,
            "Height and width of the images in pixels, a power of two from 32 to 1024.",
            ("prepare_images.size",),
            OneOf(SIZES),
            Kind.TRAINING,
        ),
        Parameter(
            "data_channels", 1, "1 for grey, 3 for RGB.", ("prepare_images.channels",), OneOf((1, 3)), Kind.TRAINING
        ),
        Parameter(
            "data_mask_pattern",
            "*_mask*",
            "Shell pattern for the names of lesion masks, which are left out; empty = there are none.",
            ("prepare_images.mask_pattern",),
            kind=Kind.TRAINING,
        ),
        Parameter(
            "data_validation_fraction",
            0.1,
            "Fraction of the images outside the test set that goes to validation, above 0 and below 1.",
            ("prepare_images.validation_fraction",),
            Real(0, 1, is_open=True),
            Kind.TRAINING,
        ),
        Parameter("data_seed", 0, "Seed of the split.", ("prepare_images.seed",), SEEDS, Kind.TRAINING),
        Parameter(
            "test_per_class",
            150,
            "Test images of each class, which only the final evaluation reads.",
            ("prepare_images.test_per_class",),
            Whole(LEAST_TO_TEST, 10**6),
            Kind.TRAINING,
        ),
    ),
    "graph": (
        Parameter(
            "conditional",
            True,
            "Train one class-conditional GAN for both classes, instead of one GAN per class.",
            allowed=Boolean(),
        ),
        Parameter(
            "rounds",
            1,
            "Number of rounds in which student and control continue training with new images.",
            allowed=Whole(1, 1_000),
        ),
        Parameter(
            "generation_shards",
            1,
            f"Number of steps that share the seeds of each class and round, 1 to {MOST_SHARDS}.",
            allowed=Whole(1, MOST_SHARDS),
            kind=Kind.OTHER,
        ),
    ),
    "gan": (
        Parameter(
            "gan_preset",
            "config-e",
            'Networks and training: "demo" (minutes on a laptop at 32 x 32), "config-e" or "config-f" (days on a GPU '
            "at 256 x 256).",
            ("train_gan.preset",),
            OneOf(tuple(PRESETS)),
            Kind.TRAINING,
        ),
        Parameter(
            "gan_kimg",
            0.0,
            "Length of training in thousands of real images shown; 0 = the preset's.",
            ("train_gan.kimg",),
            Real(0, 10**6),
        ),
        Parameter(
            "gan_keep_snapshots",
            25,
            "Maximum number of snapshots kept, thinned evenly as training proceeds.",
            ("train_gan.keep_snapshots",),
            Whole(2, 10**4),
        ),
        Parameter(
            "gan_augment",
            "mirror",
            'Augmentation of the discriminator\'s images: "none"; "mirror" = real images are mirrored at random; "ada" '
            "= adaptive discriminator augmentation too, for a few thousand images or fewer.",
            ("train_gan.augment",),
            OneOf(tuple(AUGMENTATIONS)),
            Kind.TRAINING,
        ),
        Parameter(
            "gan_precision",
            "float32",
            '"float32", or "bfloat16" = half precision for the convolutions at the four largest image sizes.',
            ("train_gan.precision",),
            OneOf(PRECISIONS),
            Kind.TRAINING,
        ),
        Parameter(
            "gan_mapping_layers",
            0,
            "Number of dense layers in the mapping network; 0 = the preset's.",
            ("train_gan.mapping_layers",),
            Whole(0, 64),
            Kind.TRAINING,
        ),
        Parameter(
            "gan_start_uri",
            "",
            "Stable URI of released generators: GAN training starts from the latest, and publish_images adds the new "
            "one; empty = start from random weights and keep none.",
            ("train_gan.start_uri", "publish_images.generator_uri"),
            kind=Kind.TRAINING,
        ),
        Parameter(
            "gan_seed",
            0,
            "Seed of the GAN's initial weights, latents, noise and order of images.",
            ("train_gan.seed",),
            SEEDS,
            Kind.TRAINING,
        ),
        Parameter(
            "gan_features",
            "radiomic",
            'Feature extractor of the distances that select the snapshot: "radiomic", a keras.applications network, or '
            "the folder of a classifier.",
            ("select_snapshot.features",),
            Features(),
        ),
        Parameter(
            "gan_selection_images",
            2_000,
            "Synthetic images per snapshot for these distances, equally many of each class.",
            ("select_snapshot.num_images",),
            Whole(16, 10**7),
        ),
        Parameter(
            "gan_seeds",
            "1-25000",
            'Latent seeds, first and last, such as "1-25000"; in the pipeline, each further class and round takes the '
            "next range of that length.",
            ("generate_images.seeds",),
            SeedRange(),
        ),
        Parameter(
            "gan_truncation_psi",
            1.6,
            "Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1 = more varied.",
            ("select_snapshot.truncation_psi", "generate_images.truncation_psi"),
            Real(0, 10),
        ),
    ),
    "classifier": (
        Parameter(
            "classifier_backbone",
            "InceptionResNetV2",
            'Backbone of the classifiers: a keras.applications network, or "small" for images of 32 x 32 or slightly '
            "larger.",
            ("train_classifier.backbone",),
            OneOf(("small", *NETWORKS)),
        ),
        Parameter(
            "classifier_weights",
            "imagenet",
            'Initial weights of the backbone: "imagenet", "none" = random, or the path or URI of a .weights.h5 file; '
            '"small" has only "none".',
            ("train_classifier.weights",),
        ),
        Parameter(
            "classifier_recipe",
            "standard",
            'Training recipe of the classifiers: "standard", or "reference" = the published experiment of 2021.',
            ("train_classifier.recipe",),
            OneOf(tuple(RECIPES)),
        ),
        Parameter("classifier_epochs", 50, "Maximum number of epochs.", ("train_classifier.epochs",), Whole(1, 10**5)),
        Parameter(
            "classifier_batch_size",
            32,
            "Images per training step of a classifier.",
            ("train_classifier.batch_size",),
            Whole(1, 10**5),
        ),
        Parameter(
            "classifier_seed",
            0,
            "Seed of the classifiers' training and of the filter's draw of images.",
            ("train_classifier.seed", "filter_images.seed"),
            SEEDS,
        ),
        Parameter(
            "classifier_filter_rule",
            "agreement",
            'Synthetic images that are kept: "agreement" = the teacher predicts the image\'s own class; "confidence" = '
            'with a minimum probability; "none" = every image, as for the control.',
            ("filter_images.rule",),
            OneOf(RULES),
        ),
        Parameter(
            "classifier_filter_confidence",
            0.9,
            'Minimum probability of the image\'s own class under the rule "confidence", 0.5 to 1.',
            ("filter_images.confidence",),
            Real(0.5, 1),
        ),
        Parameter(
            "classifier_images_per_class",
            0,
            "Images of each class to keep, drawn at random from those that pass; 0 = as many as the rarer class has.",
            ("filter_images.per_class",),
            Whole(0, 10**8),
        ),
    ),
    "report": (
        Parameter(
            "report_features",
            "radiomic",
            'Feature extractor of the audit\'s distances: "radiomic", a keras.applications network, or the folder of a '
            "classifier.",
            ("audit_images.features",),
            Features(),
        ),
        Parameter(
            "report_max_memorised",
            0.01,
            "Maximum fraction of synthetic images that may be copies of training images, 0 to 1.",
            ("audit_images.max_memorised",),
            Real(0, 1),
        ),
        Parameter(
            "report_endpoint",
            "auc",
            'Endpoint of the comparison: "auc", "accuracy", "sensitivity" or "specificity".',
            ("compare_classifiers.endpoint",),
            OneOf(ENDPOINTS),
        ),
        Parameter(
            "report_margin",
            0.05,
            "Non-inferiority margin: the largest loss that counts as no worse, declared before the test, above 0 and "
            "below 1.",
            ("compare_classifiers.margin",),
            Real(0, 1, is_open=True),
        ),
        Parameter(
            "report_uri",
            "",
            "Stable URI where report and verdict are kept from run to run; empty = they are not kept.",
            ("compare_classifiers.report_uri", "publish_images.report_uri"),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "report_release_uri",
            "",
            "URI that the release is copied to; empty = no copy.",
            ("publish_images.release_uri",),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "report_title",
            "",
            "Title of the datasheet; empty = made from the classes.",
            ("publish_images.title",),
            kind=Kind.OTHER,
        ),
    ),
    "gpu": (
        Parameter("gpu_type", "nvidia.com/gpu", "Kubernetes resource name of the GPUs.", kind=Kind.OTHER),
        Parameter(
            "gpu_count",
            "1",
            'Number of GPUs of each step that runs a network, as text; "0" = none.',
            allowed=Digits(),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "gpu_count_gan",
            "1",
            'Number of GPUs of GAN training, as text; "0" = none.',
            allowed=Digits(),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "gpu_node_selector", {}, "Labels of the GPU nodes, as a JSON object; {} = any node.", kind=Kind.OTHER
        ),
        Parameter(
            "gpu_tolerations",
            [],
            "Taints of the GPU nodes to tolerate, including those of spot nodes, as a JSON list; [] = none.",
            kind=Kind.OTHER,
        ),
        Parameter(
            "gpu_checkpoint_uri",
            "",
            "Stable URI or mounted folder for checkpoints, from which training resumes after a preemption; empty = "
            "stored next to the output and lost with the pod.",
            ("train_gan.checkpoint_uri", "train_classifier.checkpoint_uri"),
            kind=Kind.PLACEMENT,
        ),
        Parameter(
            "gpu_checkpoint_minutes",
            5.0,
            "Maximum time between two checkpoints in minutes.",
            ("train_gan.checkpoint_minutes", "train_classifier.checkpoint_minutes"),
            Real(0, 10**5, is_open=True),
            Kind.PLACEMENT,
        ),
    ),
}

PARAMETERS = {row.name: replace(row, stage=stage) for stage, rows in _TABLE.items() for row in rows}
DEFAULTS = {name: row.default for name, row in PARAMETERS.items()}
