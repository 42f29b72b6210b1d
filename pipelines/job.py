"""What a server runs: the compiled pipeline and the values of its parameters."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines.parameters import PRESETS, convert_types, require_sense
from regan.common.errors import SettingError, UnsupportedURIError
from regan.runs.parameters import DEFAULTS, PARAMETERS


@dataclass(frozen=True)
class Job:
    """A pipeline to run, once or on a schedule.

    Attributes:
        pipeline: Compiled pipeline, YAML.
        parameters: Values of its parameters.
        experiment: Name of the experiment, created where it does not exist.
        name: Name of the run, or of the schedule.
        service_account: Kubernetes service account of the pods; empty = the server's.
        pipeline_root: URI of the artifacts; empty = the server's.
        cache: Whether Kubeflow may skip steps that it has run before with the same values.
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
    """The job's pipeline as a temporary file.

    Args:
        job: The job.

    Yields:
        Path of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(job.pipeline if job.cache else _disable_caching(job.pipeline), encoding="utf-8", newline="\n")
        yield str(path)


def _disable_caching(pipeline: str) -> str:
    """Disable the cache of every task, including those in nested pipelines and conditions, which kfp's switch omits."""
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
        conditional: See `pipelines.synthetic_training_set.synthetic_training_set`.
        rounds: See there.
        generation_shards: See there.
        image_cpu: Container image of the steps that run no network, best `name@sha256:...`.
        image_gpu: Container image of the steps that run a network.

    Returns:
        YAML.

    Raises:
        SettingError: The file cannot be read, contains no compiled pipeline, or comes with settings that only a compile
            can apply; or these settings are out of range.
    """
    if not file:
        from pipelines.compilation import compile_to_yaml
        from pipelines.synthetic_training_set import synthetic_training_set

        pipeline = synthetic_training_set(conditional=conditional, rounds=rounds, generation_shards=generation_shards)
        return compile_to_yaml(pipeline, image_cpu=image_cpu, image_gpu=image_gpu)
    defaults = (*(DEFAULTS[name] for name in ("conditional", "rounds", "generation_shards")), CPU_IMAGE, GPU_IMAGE)
    if (conditional, rounds, generation_shards, image_cpu, image_gpu) != defaults:
        raise SettingError(
            "--pipeline-file is compiled already. Leave out the options that only a compile can apply (--per-class, "
            "--rounds, --generation-shards, --image-cpu, --image-gpu), or the file."
        )
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is not a text file")
        raise SettingError(
            f"--pipeline-file {file} cannot be read: {reason}. Use a file that `python -m pipelines compile` wrote."
        ) from error
    _specification(text, file)
    return text


def parameters(
    pipeline: str, *, source: str, classes: Sequence[str] = (), preset: str = "config-e", settings: Mapping[str, str]
) -> dict[str, Any]:
    """Values of the pipeline's parameters, each in its type.

    Args:
        pipeline: Compiled pipeline, YAML.
        source: URI (gs://, s3://) of the real images.
        classes: Names of the negative and of the positive class; empty = from the source.
        preset: Key of `pipelines.parameters.PRESETS`.
        settings: Text of any other parameter by name.

    Returns:
        Values by name.

    Raises:
        SettingError: An unknown name, a text that is not a value of its type, a value that is not allowed, a source
            that no pod can read, or a missing value.
    """
    from regan.storage import is_uri

    if not is_uri(source):
        raise UnsupportedURIError(
            f"--source {source!r} is not a gs:// or s3:// URI: the steps run on other machines. "
            "Upload the images to object storage first."
        )
    specification = _specification(pipeline, "the pipeline")
    values = {"source_uri": source, **PRESETS[preset], **convert_types(settings, specification)}
    values |= dict(zip(("negative_class", "positive_class"), classes))
    known = specification["root"]["inputDefinitions"]["parameters"]
    needed = {name for name, entry in known.items() if not entry.get("isOptional") and "defaultValue" not in entry}
    unknown, missing = sorted(values.keys() - known), sorted(needed - values.keys())
    if unknown or missing:
        wrong = [*(f"it has no {name}" for name in unknown), *(f"{name} has no value" for name in missing)]
        raise SettingError(f"The values do not fit the pipeline: {', '.join(wrong)}. Compile it again, or use --set.")
    require_sense(values)
    return values


def _specification(text: str, file: str | Path) -> dict[str, Any]:
    import yaml

    try:
        specification = next(yaml.load_all(text, Loader=_loader()))
        known = specification["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
        parts = [specification["root"], *specification.get("components", {}).values()]
        kinds = [entry["parameterType"] for entry in known.values()]
        tasks = [task for part in parts for task in part.get("dag", {}).get("tasks", {}).values()]
        if not all(isinstance(part, dict) for part in tasks) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError
    except (yaml.YAMLError, StopIteration, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            f"--pipeline-file {file} is not a compiled pipeline. Use a file that `python -m pipelines compile` wrote."
        ) from error
    return specification


def _loader() -> Any:
    import yaml

    # The compiled pipeline has thousands of lines: 0.1 s with libyaml, 1 s without.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def two_classes(text: str) -> tuple[str, ...]:
    """Parse the option --classes.

    Args:
        text: Names of the negative and of the positive class separated by a comma, or nothing.

    Returns:
        The two names, or none.

    Raises:
        SettingError: Not two different names.
    """
    classes = tuple(name.strip() for name in text.split(",")) if text else ()
    if classes and (len(set(classes)) != 2 or not all(classes)):
        raise SettingError(f"--classes {text!r} is not two names. Write the positive class last: benign,malignant.")
    return classes


def settings_in(pairs: Sequence[str]) -> dict[str, str]:
    """Parse the options --set.

    Args:
        pairs: `NAME=VALUE` each.

    Returns:
        Text of each value by name.

    Raises:
        SettingError: A pair without "=".
    """
    for pair in pairs:
        if "=" not in pair:
            raise SettingError(f"--set {pair!r} is not NAME=VALUE. Write such as --set gan_kimg=100.")
    return dict(pair.split("=", 1) for pair in pairs)


def add_graph(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a compile can apply.

    Args:
        parser: Parser of a command.
    """
    parser.add_argument("--per-class", action="store_true", help="train one GAN per class, not one conditional GAN")
    for name in ("rounds", "generation_shards"):
        row = PARAMETERS[name]
        words = f"{row.about[0].lower()}{row.about[1:].rstrip('.')} (default: %(default)s)"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=row.default, metavar="N", help=words)
    parser.add_argument("--image-cpu", default=CPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")
    parser.add_argument("--image-gpu", default=GPU_IMAGE, metavar="REF", help="best name@sha256 (default: %(default)s)")


def graph_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `pipeline_yaml` and `manifests` from a parsed command line.

    Args:
        parsed: Command line with the options of `add_graph`.
    """
    return {
        "conditional": not parsed.per_class,
        "rounds": parsed.rounds,
        "generation_shards": parsed.generation_shards,
        "image_cpu": parsed.image_cpu,
        "image_gpu": parsed.image_gpu,
    }
