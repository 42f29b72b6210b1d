"""What a server is asked to run: the compiled pipeline, and the values of its parameters."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.parameters import PRESETS, require_sense, typed


@dataclass(frozen=True)
class Job:
    """What to run.

    Attributes:
        pipeline: Compiled pipeline, YAML.
        parameters: Values of its parameters.
        experiment: Name of the experiment; it is made where there is none.
        name: Name of the run, or of the schedule.
        service_account: Kubernetes service account of the pods; empty = the server's.
        pipeline_root: Address that artifacts go under; empty = the server's.
        cache: Let Kubeflow skip steps that it has done before with the same values.
    """

    pipeline: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    experiment: str = ""
    name: str = ""
    service_account: str = ""
    pipeline_root: str = ""
    cache: bool = True


@contextmanager
def package(job: Job) -> Iterator[str]:
    """The job's pipeline as a file, which is gone afterwards.

    Args:
        job: What to run.

    Yields:
        Path of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(job.pipeline if job.cache else _uncached(job.pipeline), encoding="utf-8", newline="\n")
        yield str(path)


def _uncached(pipeline: str) -> str:
    """Every task without the cache, those of nested pipelines and conditions too, which kfp's own switch leaves out."""
    import yaml

    documents = list(yaml.load_all(pipeline, Loader=_loader()))
    parts = [documents[0]["root"], *documents[0].get("components", {}).values()]
    for part in parts:
        for task in part.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
    return yaml.dump_all(documents, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def pipeline_yaml(
    file: str | Path = "",
    *,
    conditional: bool = True,
    rounds: int = 1,
    generation_shards: int = 1,
    image_cpu: str = CPU_IMAGE,
    image_gpu: str = GPU_IMAGE,
) -> str:
    """Compile the pipeline, or read it from a file.

    Args:
        file: Compiled pipeline; empty = compile now with the settings below.
        conditional: See `pipelines.synthetic_training_set.synthetic_training_set`, as for the next two.
        rounds: How often student and control go on with new images.
        generation_shards: Steps among which image generation is divided.
        image_cpu: Image of the steps that run no network, best `name@sha256:...`.
        image_gpu: Image of the steps that run a network.

    Returns:
        YAML.

    Raises:
        ValueError: The file cannot be read, holds no compiled pipeline, or comes with settings that only a compile can
            follow; or these settings are out of range.
    """
    if not file:
        from pipelines.compilation import compiled
        from pipelines.synthetic_training_set import synthetic_training_set

        pipeline = synthetic_training_set(conditional=conditional, rounds=rounds, generation_shards=generation_shards)
        return compiled(pipeline, image_cpu=image_cpu, image_gpu=image_gpu)
    if (conditional, rounds, generation_shards, image_cpu, image_gpu) != (True, 1, 1, CPU_IMAGE, GPU_IMAGE):
        raise ValueError(
            "--pipeline-file is compiled already. Leave out the options that only a compile can follow (--per-class, "
            "--rounds, --generation-shards, --image-cpu, --image-gpu), or the file."
        )
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is no text")
        raise ValueError(
            f"--pipeline-file expects a file that `python -m pipelines compile` wrote. {file} cannot be read: "
            f"{reason}. Check the path."
        ) from error
    _specification(text, file)
    return text


def parameters(
    pipeline: str, *, source: str, classes: Sequence[str] = (), preset: str = "config-e", settings: Mapping[str, str]
) -> dict[str, Any]:
    """Values of the pipeline's parameters, each in its type.

    Args:
        pipeline: Compiled pipeline, YAML.
        source: gs:// or s3:// address of the real images.
        classes: Names of the negative and of the positive class; empty = told by the source.
        preset: Row of `pipelines.parameters.PRESETS`.
        settings: Text of any other parameter by name.

    Returns:
        Values by name.

    Raises:
        ValueError: An unknown name, a text that is no value of its type, a value that makes no sense, a source that no
            pod can read, or no value for a parameter that needs one.
    """
    from regan.storage import is_uri

    if not is_uri(source):
        raise ValueError(
            "--source expects a gs:// or s3:// address, because the steps run on other machines. "
            f"Received {source!r}. Copy the images there first."
        )
    specification = _specification(pipeline, "the pipeline")
    values = {"source_uri": source, **PRESETS[preset], **typed(settings, specification)}
    values |= dict(zip(("negative_class", "positive_class"), classes))
    known = specification["root"]["inputDefinitions"]["parameters"]
    needed = {name for name, told in known.items() if not told.get("isOptional") and "defaultValue" not in told}
    unknown, missing = sorted(values.keys() - known), sorted(needed - values.keys())
    if unknown or missing:
        wrong = [*(f"it has no {name}" for name in unknown), *(f"{name} has no value" for name in missing)]
        raise ValueError(f"The values do not fit the pipeline: {', '.join(wrong)}. Compile it anew, or use --set.")
    require_sense(values)
    return values


def _specification(text: str, file: str | Path) -> dict[str, Any]:
    import yaml

    try:
        specification = next(yaml.load_all(text, Loader=_loader()))
        known = specification["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
        parts = [specification["root"], *specification.get("components", {}).values()]
        kinds = [told["parameterType"] for told in known.values()]
        tasks = [task for part in parts for task in part.get("dag", {}).get("tasks", {}).values()]
        if not all(isinstance(part, dict) for part in tasks) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError
    except (yaml.YAMLError, StopIteration, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"--pipeline-file expects YAML that `python -m pipelines compile` wrote: {file}.") from error
    return specification


def _loader() -> Any:
    import yaml

    # The compiled pipeline has thousands of lines: 0.1 s with libyaml, 1 s without.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def two_classes(text: str) -> tuple[str, ...]:
    """Read the option --classes.

    Args:
        text: Names of the negative and of the positive class with a comma between them, or nothing.

    Returns:
        The two names, or none.

    Raises:
        ValueError: Other than two different names.
    """
    classes = tuple(name.strip() for name in text.split(",")) if text else ()
    if classes and (len(set(classes)) != 2 or not all(classes)):
        raise ValueError(f"--classes expects two names, the positive class last: benign,malignant. Received {text!r}.")
    return classes


def settings_in(pairs: Sequence[str]) -> dict[str, str]:
    """Read the options --set.

    Args:
        pairs: `NAME=VALUE` each.

    Returns:
        Text of each value by name.

    Raises:
        ValueError: A pair without "=".
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--set expects NAME=VALUE, such as gan_kimg=100. Received {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


def add_graph(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a compile can follow.

    Args:
        parser: Of a command.
    """
    parser.add_argument("--per-class", action="store_true", help="one GAN a class, not one class-conditional GAN")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of new images for the student (default: 1)")
    parser.add_argument("--generation-shards", type=int, default=1, help="steps that share a class's images, to 16")
    parser.add_argument("--image-cpu", default=CPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")
    parser.add_argument("--image-gpu", default=GPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")


def graph_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `pipeline_yaml` and `manifests` take, from the words of a command line.

    Args:
        parsed: With the options of `add_graph`.
    """
    return {
        "conditional": not parsed.per_class,
        "rounds": parsed.rounds,
        "generation_shards": parsed.generation_shards,
        "image_cpu": parsed.image_cpu,
        "image_gpu": parsed.image_gpu,
    }
