"""Component of the verb `select_snapshot`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def select_snapshot(
    run: Input[Model],
    images: Input[Dataset],
    generator: Output[Model],
    metrics: Output[Metrics],
    features: str = "radiomic",
    num_images: int = 2_000,
    truncation_psi: float = 1.6,
    seed: int = 0,
):
    """Keep the snapshot whose images are closest to the real ones.

    Args:
        run: Training run, with its snapshots.
        images: Real images, never those that the classifiers are tested on.
        features: Feature extractor: "radiomic", or the name of a keras.applications network.
        num_images: Synthetic images made with each snapshot.
        truncation_psi: Spread of the latents: 0 = the average image, 1 = as trained, above 1 = wider.
        seed: First latent seed.

    Returns:
        generator: The kept snapshot.
        metrics: Distances of the kept snapshot, and its place in training.
    """
    import regan

    kept = regan.select_snapshot(
        run.path,
        images.path,
        generator.path,
        features=features,
        num_images=num_images,
        truncation_psi=truncation_psi,
        seed=seed,
    )
    metrics.log_metric("kimg", kept.kimg)
    metrics.log_metric("kernel_distance", kept.kernel_distance)
    metrics.log_metric("frechet_distance", kept.frechet_distance)
