"""Component of the verb `generate_images`."""

# KFP knows no Literal.
# mypy: disable-error-code="arg-type"

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._image import GPU_IMAGE


@dsl.component(base_image=GPU_IMAGE, install_kfp_package=False)
def generate_images(
    generator: Input[Model],
    images: Output[Dataset],
    metrics: Output[Metrics],
    label: str = "all",
    seeds: str = "1-25000",
    truncation_psi: float = 1.6,
    truncation_cutoff: int = 0,
    noise: str = "random",
    mixing_seeds: str = "",
    mixing_cut: int = 0,
):
    """Make one synthetic image of each seed.

    Args:
        generator: Selected snapshot of a training run.
        label: Class to generate; "all" = every class of the generator.
        seeds: Latent seeds, first and last, such as "1-25000"; in the pipeline, each further class and round takes the
            next range of that length.
        truncation_psi: Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1 = more
            varied.
        truncation_cutoff: Number of coarse styles that psi truncates; 0 = all.
        noise: Noise inputs: "random" = drawn from each seed, "constant" = the same for all images, or "none".
        mixing_seeds: Seeds of the fine styles, one for all images or as many as `seeds`; empty = no style mixing.
        mixing_cut: Number of coarse styles that style mixing takes from `seeds`; 0 = no style mixing.

    Returns:
        images: Synthetic images, each with its seed, psi and the generator's hash.
        metrics: Number of images.
    """
    import regan

    generated = regan.generate_images(
        generator.path,
        images.path,
        label=label,
        seeds=seeds,
        truncation_psi=truncation_psi,
        truncation_cutoff=truncation_cutoff,
        noise=noise,
        mixing_seeds=mixing_seeds,
        mixing_cut=mixing_cut,
    )
    metrics.log_metric("num_images", generated.num_images)
