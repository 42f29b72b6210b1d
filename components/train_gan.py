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
    checkpoint_minutes: float = 5.0,
    devices: int = 0,
    seed: int = 0,
):
    """Train StyleGAN2 on one class, or on all classes with one class-conditional network.

    Args:
        images: Real images to train on.
        label: Class to train on; "all" = every class, with one class-conditional network.
        preset: Networks and training: "demo" (minutes on a laptop at 32 x 32), "config-e" or "config-f" (days on a GPU
            at 256 x 256).
        kimg: Length of training in thousands of real images shown; 0 = the preset's.
        keep_snapshots: Maximum number of snapshots kept, thinned evenly as training proceeds.
        features: Feature extractor of the distances that TensorBoard shows during training: "radiomic", a
            keras.applications network, or the folder of a classifier; empty = not computed.
        augment: Augmentation of the discriminator's images: "none"; "mirror" = real images are mirrored at random;
            "ada" = adaptive discriminator augmentation too, for a few thousand images or fewer.
        precision: "float32", or "bfloat16" = half precision for the convolutions at the four largest image sizes.
        mapping_layers: Number of dense layers in the mapping network; 0 = the preset's.
        batch_size: Images per step, a multiple of 4; 0 = the preset's.
        r1_gamma: Weight of the R1 penalty; 0 = the preset's for the size of the images.
        start_uri: Stable URI of released generators: GAN training starts from the latest, and publish_images adds the
            new one; empty = start from random weights and keep none.
        checkpoint_uri: Stable URI or mounted folder for checkpoints, from which training resumes after a preemption;
            empty = stored next to the output and lost with the pod.
        checkpoint_minutes: Maximum time between two checkpoints in minutes.
        devices: Number of devices that share each batch, in shares of a multiple of 4 images; 0 = as many of the
            visible ones as possible.
        seed: Seed of the GAN's initial weights, latents, noise and order of images.

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
