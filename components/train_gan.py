"""Component of the verb `train_gan`."""

# KFP knows no Literal.
# mypy: disable-error-code="arg-type"

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def train_gan(
    images: Input[Dataset],
    run: Output[Model],
    metrics: Output[Metrics],
    label: str = "all",
    preset: str = "config-e",
    kimg: float = 0.0,
    keep_snapshots: int = 25,
    features: str = "",
    augment: str = "mirror",
    precision: str = "float32",
    mapping_layers: int = 0,
    batch_size: int = 0,
    r1_gamma: float = 0.0,
    start_uri: str = "",
    checkpoint_uri: str = "",
    checkpoint_minutes: float = 10.0,
    devices: int = 0,
    seed: int = 0,
):
    """Train StyleGAN2 on one class, or on all classes with one class-conditional network.

    Args:
        images: Real images to train on.
        label: Class to train on; "all" = every class, with one class-conditional network.
        preset: Row of the table of presets: "demo", "config-e" or "config-f".
        kimg: Length of training in thousands of real images shown; 0 = the preset's.
        keep_snapshots: Snapshots kept at most, thinned evenly as training goes on.
        features: What the distances of each snapshot to the real images, shown in TensorBoard while training goes on,
            are measured on: "radiomic", or a keras.applications network; empty = not measured.
        augment: What is done to images before the discriminator sees them: "none"; "mirror" = real ones are flipped
            left to right at random; "ada" = adaptive augmentation besides, for a few thousand images or fewer.
        precision: "float32", or "bfloat16" = the convolutions at the four largest image sizes in half precision, which
            is quicker on GPUs that have units for it.
        mapping_layers: Dense layers of the mapping network, such as those of an official network to start from; 0 = the
            preset's.
        batch_size: Images a step, a multiple of 4; 0 = the preset's.
        r1_gamma: Weight of R1, which holds the discriminator back; 0 = the preset's for the images' size.
        start_uri: Folder or gs:// or s3:// address of a generator to start from, such as the last released one;
            empty, or nothing there yet = from random weights.
        checkpoint_uri: Stable gs:// or s3:// address, or mounted folder, for the state to resume from after a lost
            node, in a place of its own for each label, configuration and images; empty = beside the run, which is lost
            with the pod.
        checkpoint_minutes: Minutes between two pushes of that state.
        devices: Devices that share each batch, in shares of a multiple of 4 images; 0 = as many of the visible ones as
            can.
        seed: Seed of the weights, the latents and the order of the images.

    Returns:
        run: Training run with its snapshots and log.
        metrics: Length of training, snapshots kept and seconds.
    """
    import regan

    trained = regan.train_gan(
        images.path,
        run.path,
        label=label,
        preset=preset,
        kimg=kimg,
        keep_snapshots=keep_snapshots,
        features=features,
        augment=augment,
        precision=precision,
        mapping_layers=mapping_layers,
        batch_size=batch_size,
        r1_gamma=r1_gamma,
        start_uri=start_uri,
        checkpoint_uri=checkpoint_uri,
        checkpoint_minutes=checkpoint_minutes,
        devices=devices,
        seed=seed,
    )
    metrics.log_metric("kimg", trained.kimg)
    metrics.log_metric("num_snapshots", trained.num_snapshots)
    metrics.log_metric("seconds", trained.seconds)
