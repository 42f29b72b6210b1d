"""Compiled manifests of the pipeline and its components, with the images of their steps."""

import re
import tempfile
from pathlib import Path

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

import components
from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.errors import SettingError

_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*"  # no character that has a meaning in YAML


def compile_to_yaml(component: BaseComponent, *, image_cpu: str = CPU_IMAGE, image_gpu: str = GPU_IMAGE) -> str:
    """Compile a pipeline or a component.

    Args:
        component: Pipeline or component.
        image_cpu: Image of the steps that run no network; on a cluster preferably a digest, `name@sha256:...`, because
            Kubeflow's cache assumes that the same tag is the same code.
        image_gpu: Image of the steps that run a network.

    Returns:
        YAML; the same bytes each time.

    Raises:
        SettingError: The name of an image is invalid.
    """
    for option, image in (("--image-cpu", image_cpu), ("--image-gpu", image_gpu)):
        if not re.fullmatch(_IMAGE, image):
            raise SettingError(
                f"{option} {image!r} is not the name of an image. Use name@sha256:... or name:tag, or leave it out for "
                "the image of this version."
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "compiled.yaml")
        compiler.Compiler().compile(component, str(path))
        text = path.read_text(encoding="utf-8")
    for placeholder, image in ((CPU_IMAGE, image_cpu), (GPU_IMAGE, image_gpu)):
        text = text.replace(f"image: {placeholder}\n", f"image: {image}\n")
    return text


def manifests(
    *,
    conditional: bool = True,
    rounds: int = 1,
    generation_shards: int = 1,
    image_cpu: str = CPU_IMAGE,
    image_gpu: str = GPU_IMAGE,
) -> dict[str, str]:
    """Compile the pipeline and each component.

    Args:
        conditional: See `synthetic_training_set`.
        rounds: See `synthetic_training_set`.
        generation_shards: See `synthetic_training_set`.
        image_cpu: See `compiled`.
        image_gpu: See `compiled`.

    Returns:
        YAML by name of its file, below `manifests/`.

    Raises:
        SettingError: As for `compiled` and `synthetic_training_set`.
    """
    pipeline = synthetic_training_set(conditional=conditional, rounds=rounds, generation_shards=generation_shards)
    parts = {"pipelines/synthetic_training_set.yaml": pipeline}
    parts |= {f"components/{name}.yaml": getattr(components, name) for name in components.__all__}
    return {name: compile_to_yaml(part, image_cpu=image_cpu, image_gpu=image_gpu) for name, part in parts.items()}
