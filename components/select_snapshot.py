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
        run: Training run with its snapshots.
        images: Real images, never those that test the classifiers.
        features: Feature extractor of the distances that select the snapshot: "radiomic", a keras.applications network,
            or the folder of a classifier.
        num_images: Synthetic images per snapshot for these distances, equally many of each class.
        truncation_psi: Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1 = more
            varied.
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
