"""Compiled manifests of the pipeline and its components, and the exchange of their images."""

import tempfile
from pathlib import Path

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

import components
from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.synthetic_training_set import synthetic_training_set


def compiled(component: BaseComponent, *, image_cpu: str = CPU_IMAGE, image_gpu: str = GPU_IMAGE) -> str:
    """Compile a pipeline or a component.

    Args:
        component: Pipeline or component.
        image_cpu: Image of the steps that run no network; on a cluster best a digest, `name@sha256:...`, because
            Kubeflow's cache takes the same tag for the same code.
        image_gpu: Image of the steps that run a network.

    Returns:
        YAML; the same bytes each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "compiled.yaml")
        compiler.Compiler().compile(component, str(path))
        text = path.read_text()
    for placeholder, image in ((CPU_IMAGE, image_cpu), (GPU_IMAGE, image_gpu)):
        text = text.replace(f"image: {placeholder}\n", f"image: {image}\n")
    return text


def write_manifests(
    folder: str | Path, *, conditional: bool = True, image_cpu: str = CPU_IMAGE, image_gpu: str = GPU_IMAGE
) -> list[Path]:
    """Write the compiled pipeline and each component.

    Args:
        folder: Receives `pipelines/` and `components/`.
        conditional: One class-conditional network for both classes; otherwise one network a class.
        image_cpu: See `compiled`.
        image_gpu: See `compiled`.

    Returns:
        The written files.
    """
    parts = {"pipelines/synthetic_training_set.yaml": synthetic_training_set(conditional=conditional)}
    parts |= {f"components/{verb}.yaml": getattr(components, verb) for verb in components.__all__}
    written = []
    for name, component in parts.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(compiled(component, image_cpu=image_cpu, image_gpu=image_gpu))
        written.append(path)
    return written
