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
        generator: Kept snapshot of a training run.
        label: Class to make; "all" = every class that the generator knows.
        seeds: Latent seeds, as "1-25000" or "1-10,20"; "1-100+2" = the second range of that length after 1-100,
            and "1-100:2/4" = the second of its four parts.
        truncation_psi: Spread of the latents: 0 = the average image, 1 = as trained, above 1 = wider.
        truncation_cutoff: Only so many styles, the coarse ones, are moved by psi; 0 = all.
        noise: "random" = drawn from each seed, "constant" = the same for all, or "none".
        mixing_seeds: Seeds of the fine styles, one for all images or as many as `seeds`; empty = each image's own.
        mixing_cut: With them, so many styles, the coarse ones, stay those of `seeds`.

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
