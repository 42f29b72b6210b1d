"""The pipeline on this machine: `python -m pipelines local`.

The compiled pipeline runs through kfp.local. Its cache key contains neither our code nor the data, so the image string
carries a hash of `regan/`, and the parameter `data_version` a hash of the source's listing: steps run again after a
change of code or data, and an interrupted or failed run resumes after its finished steps.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml
from kfp import components as kfp_components

import regan
from components._image import CPU_IMAGE, GPU_IMAGE
from pipelines import step_runner
from pipelines.compilation import compile_to_yaml
from pipelines.kfp_local import LocalRun, Step, figures_of
from pipelines.parameters import PRESETS, convert_types, require_sense, share_for_test
from pipelines.run_record import peak_memory, time_estimate, write_run_record
from pipelines.synthetic_training_set import synthetic_training_set
from regan.common.system import require_posix
from regan.common.text import duration
from regan.preparation import phantom
from regan.preparation.listing import SourceListing
from regan.runs.parameters import DEFAULTS
from regan.storage import is_uri

PHANTOM_SETTINGS = {"per_class": 600, "size": 64, "seed": 0}  # 150 a class for the test leave 405 to train on
EARLIER = "report-of-an-earlier-run.html"
_RUN_BY_TRAINING = ("artifacts", "backend", "classifier", "common", "gan", "training")


@dataclass(frozen=True)
class Request:
    """Options of a local run.

    Attributes:
        output: Folder for the report, the artifacts, the cache and the logs.
        source: Folder, zip archive or URI of the images; empty = phantom images are generated.
        classes: Negative and positive class; empty = taken from the folders of the source.
        preset: Row of `PRESETS`.
        settings: Pipeline parameters, as text, that override those of the preset.
        conditional: See `synthetic_training_set`.
        rounds: See `synthetic_training_set`.
        generation_shards: See `synthetic_training_set`.
        runner: "subprocess", or "docker" for containers.
        image_cpu: Image of the steps that run no network, for containers.
        image_gpu: Image of the steps that run a network, for containers.
    """

    output: Path
    source: str = ""
    classes: tuple[str, ...] = ()
    preset: str = "demo"
    settings: Mapping[str, str] = field(default_factory=dict)
    conditional: bool = True
    rounds: int = 1
    generation_shards: int = 1
    runner: str = "subprocess"
    image_cpu: str = CPU_IMAGE
    image_gpu: str = GPU_IMAGE


def run(request: Request, say: Callable[[str], None], status: Callable[[str], None] = lambda line: None) -> list[Step]:
    """Run the pipeline, and report its progress and its results.

    Args:
        request: Options of the run.
        say: Receives each line that a person should see.
        status: Receives the line for the whole run whenever it changes; empty when the run has ended.

    Returns:
        The finished steps, in the order of execution.

    Raises:
        ValueError: A setting is wrong.
        FileNotFoundError: The source, or a container image, does not exist.
        ConflictError: Another run uses the same output folder.
        OutputError: The output folder cannot be written.
        pipelines.kfp_local.StepError: A step failed.
        UnsupportedPlatformError: This is Windows.
    """
    require_posix("A local run of the pipeline")
    started, output = time.monotonic(), request.output.absolute()
    graph = {name: getattr(request, name) for name in ("conditional", "rounds", "generation_shards")}
    text = compile_to_yaml(synthetic_training_set(**graph))
    settings = convert_types(request.settings, next(yaml.safe_load_all(text)))
    require_sense({**PRESETS[request.preset], **settings, "conditional": request.conditional, "rounds": request.rounds})
    with step_runner.alone_in(output) as lock:
        report = output / "report.html"
        with contextlib.suppress(FileNotFoundError):
            report.replace(output / EARLIER)
        source = SourceListing.open(request.source or str(_phantoms(output, say)))
        parameters = _parameters(request, settings, source, output, say)
        local_text = step_runner.for_this_machine(text, _images(request))
        try:
            steps = _run_steps(request, local_text, parameters, say, status, lock)
        finally:
            status("")
        for line in _summary(steps, output, parameters):
            say(line)
        memory = f", peak memory {peak_memory() / 2**30:.1f} GB" if request.runner == "subprocess" else ""
        kept = f"{sum(not step.ran for step in steps)} of {len(steps)} steps kept from an earlier run"
        seconds = time.monotonic() - started
        say(f"Time {duration(seconds)} ({kept}){memory}")
        if any(step.title == "compare classifiers" for step in steps):
            write_run_record(output, steps, parameters["report_endpoint"], seconds)
        if report.is_file():
            say(f"Report: {_short(report)}")
    return steps


def _run_steps(
    request: Request,
    text: str,
    parameters: Mapping[str, Any],
    say: Callable[[str], None],
    status: Callable[[str], None],
    lock: IO,
) -> list[Step]:
    output = request.output.absolute()
    (output / "pipeline.yaml").write_text(text, encoding="utf-8", newline="\n")
    (output / "parameters.json").write_text(
        json.dumps(parameters, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )
    local_run = LocalRun(
        output / "logs",
        say,
        environment=step_runner.step_environment(),
        volumes=_volumes(parameters),
        lock=lock,
        status=status,
        predict=_predicted_seconds,
    )
    local_run(
        kfp_components.load_component_from_text(text),
        parameters,
        runner=_runner(request, output, parameters),
        pipeline_root=output / "artifacts",
    )
    return local_run.steps


def _predicted_seconds(step: Step) -> Mapping[str, float]:
    """Seconds of each step, from the preflight's estimate for this machine; other steps predict nothing."""
    return time_estimate(step).get("steps", {}) if step.title == "preflight" else {}


def _phantoms(output: Path, say: Callable[[str], None]) -> Path:
    name = "-".join(f"{name}-{value}" for name, value in PHANTOM_SETTINGS.items())
    folder = output / "phantoms" / f"version-{phantom.VERSION}-{name}"
    if not folder.is_dir():
        say(f"Generating {PHANTOM_SETTINGS['per_class']} phantom images of each class in {folder}")
        regan.phantom(folder, **PHANTOM_SETTINGS)
    return folder


def _parameters(
    request: Request, settings: Mapping[str, Any], source: SourceListing, output: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    negative, positive = request.classes or (("", "") if request.source else phantom.LABELS)
    parameters = {
        "source_uri": source.uri,
        "negative_class": negative,
        "positive_class": positive,
        "data_version": source.version,
        **{name: DEFAULTS[name] for name in ("test_per_class", "data_mask_pattern", "report_endpoint")},
        "gpu_count": "0",  # no GPU is required; the frameworks use one that they find
        "gpu_count_gan": "0",
        **PRESETS[request.preset],
        **settings,
    }
    counts = source.counts(negative, positive, parameters["data_mask_pattern"])
    if counts and "test_per_class" not in settings:
        parameters["test_per_class"] = _share_for_test(counts, parameters["test_per_class"], say)
    parameters = {"gpu_checkpoint_uri": str(output / "checkpoints" / _checkpoint_name(request)), **parameters}
    return {name: _absolute(value) if name.endswith("_uri") else value for name, value in parameters.items()}


def _absolute(uri: str) -> str:
    return uri if not uri or is_uri(uri) else os.path.abspath(os.path.expanduser(uri))


def _share_for_test(counts: Mapping[str, int], wanted: int, say: Callable[[str], None]) -> int:
    rarer = min(counts.values())
    share = share_for_test(counts, wanted)
    if share < wanted:
        why = "a quarter" if share == rarer // 4 else "the least there can be,"
        say(
            f"test_per_class is {share}, {why} of the {rarer} images of the rarer class, instead of {wanted}: "
            "the others are needed for training. Set another number with --set test_per_class=N."
        )
    return share


def _checkpoint_name(request: Request) -> str:
    """A name that changes with the code that trains; the preflight adds a hash of data and settings."""
    code = step_runner.code_version(step_runner.PACKAGE, _RUN_BY_TRAINING)
    key = [code, step_runner.step_environment()["KERAS_BACKEND"], request.conditional]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _images(request: Request) -> dict[str, str]:
    if request.runner == "docker":
        return step_runner.images_of_containers(request.image_cpu, request.image_gpu)
    return step_runner.images_of_processes()


def _runner(request: Request, output: Path, parameters: Mapping[str, Any]) -> Any:
    if request.runner == "docker":
        folders = [Path(path) for path, mode in _volumes(parameters).items() if mode == "rw"]
        return step_runner.container_runner([output / "artifacts", *folders])
    return step_runner.process_runner()


def _volumes(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Local folders that the steps see: the source to read, those of all other URIs to write."""
    return {
        path: "ro" if name == "source_uri" else "rw"
        for name, path in parameters.items()
        if name.endswith("_uri") and path and not is_uri(path)
    }


def _summary(steps: list[Step], output: Path, parameters: Mapping[str, Any]) -> Iterator[str]:
    done = {step.title: step for step in steps}
    checked = done["preflight"].outputs
    if checked["go"] != "yes":
        with contextlib.suppress(FileNotFoundError):
            (output / EARLIER).replace(output / "report.html")
        yield "Nothing new: source and settings are those of the previous verdict."
        yield "--set data_unchanged=run runs it anyway."
        return
    compared = done["compare classifiers"]
    shutil.copyfile(Path(compared.outputs["report"].path, "report.html"), output / "report.html")
    figures, endpoint = figures_of(compared.outputs), parameters["report_endpoint"]
    auc = "   ".join(
        f"{name} {figures_of(done[f'test {name}'].outputs)['auc']:.3f}" for name in ("teacher", "student", "control")
    )
    yield ""
    yield f"Verdict: {compared.outputs['sentence']}"
    yield f"AUC on the test images: {auc}"
    yield (
        f"Difference in {endpoint}, student minus teacher: {figures['difference']:+.3f} "
        f"(95 % interval {figures['lower']:+.3f} to {figures['upper']:+.3f})"
    )
    verdicts = [step.outputs["verdict"] for step in steps if step.title.startswith("audit images")]
    yield f"Audit of the synthetic images: {', '.join(verdicts)}"
    for step in steps:
        if step.title.startswith("publish images"):
            yield f"Release: {_short(Path(step.outputs['release'].path))}"
    if "failed" in verdicts:
        yield "Nothing was released, because the audit failed; the report shows which check."


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
