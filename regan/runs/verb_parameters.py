"""Rows of the table of parameters that the pipeline does not expose: those of verbs and components alone."""

from regan.gan.configuration import NOISES
from regan.runs.parameter_row import MOST_STYLES, SEEDS, Features, OneOf, Parameter, Real, Whole

_ROWS = (
    Parameter(
        "preflight.settings",
        "",
        "Parameters of the pipeline, one `name=value` per line; the others have the pipeline's defaults.",
    ),
    Parameter(
        "prepare_images.data_version",
        "",
        "Version of the real images, as the preflight returned it.",
        ("prepare_images.data_version", "compare_classifiers.data_version"),
    ),
    Parameter("train_gan.label", "all", 'Class to train on; "all" = every class, with one class-conditional network.'),
    Parameter(
        "train_gan.features",
        "",
        'Feature extractor of the distances that TensorBoard shows during training: "radiomic", a keras.applications '
        "network, or the folder of a classifier; empty = not computed.",
        allowed=Features(),
    ),
    Parameter(
        "train_gan.batch_size", 0, "Images per step, a multiple of 4; 0 = the preset's.", allowed=Whole(0, 10**5)
    ),
    Parameter(
        "train_gan.r1_gamma",
        0.0,
        "Weight of the R1 penalty; 0 = the preset's for the size of the images.",
        allowed=Real(0, 10**6),
    ),
    Parameter(
        "train_gan.devices",
        0,
        "Number of devices that share each batch, in shares of a multiple of 4 images; 0 = as many of the visible ones "
        "as possible.",
        allowed=Whole(0, 10**4),
    ),
    Parameter("select_snapshot.seed", 0, "First latent seed.", allowed=SEEDS),
    Parameter("generate_images.label", "all", 'Class to generate; "all" = every class of the generator.'),
    Parameter(
        "generate_images.truncation_cutoff",
        0,
        "Number of coarse styles that psi truncates; 0 = all.",
        allowed=Whole(0, MOST_STYLES),
    ),
    Parameter(
        "generate_images.noise",
        "random",
        'Noise inputs: "random" = drawn from each seed, "constant" = the same for all images, or "none".',
        allowed=OneOf(NOISES),
    ),
    Parameter(
        "generate_images.mixing_seeds",
        "",
        "Seeds of the fine styles, one for all images or as many as `seeds`; empty = no style mixing.",
    ),
    Parameter(
        "generate_images.mixing_cut",
        0,
        "Number of coarse styles that style mixing takes from `seeds`; 0 = no style mixing.",
        allowed=Whole(0, MOST_STYLES),
    ),
    Parameter("train_classifier.checkpoint_name", "", "Subfolder of `checkpoint_uri`, for people; empty = none."),
    Parameter("audit_images.seed", 0, "Seed of the random draws that make the sets equally large.", allowed=SEEDS),
    Parameter(
        "compare_classifiers.run_key",
        "",
        "Key of the run, the same when the run is repeated.",
        ("compare_classifiers.run_key", "publish_images.run_key"),
    ),
    Parameter(
        "publish_images.release_name",
        "",
        "Subfolder of `release_uri` for this release; empty = the URI itself.",
    ),
    Parameter("explain_run.run_name", "", "Name of the run."),
)

VERB_PARAMETERS = {row.name: row for row in _ROWS}
