"""RaGAN: synthetic supervised training sets for medical imaging, and the statistics that say how good they are.

Every name below is loaded on first use, so that importing `regan` loads no deep-learning framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from regan.common.cpus import limit_threads
from regan.common.version import __version__

limit_threads()  # before the numerical libraries start their threads; nothing where there is no CPU limit

VERBS = (
    "prepare_images",
    "train_gan",
    "select_snapshot",
    "generate_images",
    "filter_images",
    "train_classifier",
    "evaluate_classifier",
    "audit_images",
    "compare_classifiers",
    "publish_images",
)

_HOMES = {verb: f"regan.verbs.{verb}" for verb in VERBS} | {
    "phantom": "regan.preparation.phantom",
    "preflight": "regan.runs.preflight",
    "explain_run": "regan.runs.explain",
    "import_nvidia": "regan.nvidia",
}

__all__ = [*_HOMES, "VERBS", "__version__"]

if TYPE_CHECKING:
    from regan.nvidia import import_nvidia as import_nvidia
    from regan.preparation.phantom import phantom as phantom
    from regan.runs.explain import explain_run as explain_run
    from regan.runs.preflight import preflight as preflight
    from regan.verbs.audit_images import audit_images as audit_images
    from regan.verbs.compare_classifiers import compare_classifiers as compare_classifiers
    from regan.verbs.evaluate_classifier import evaluate_classifier as evaluate_classifier
    from regan.verbs.filter_images import filter_images as filter_images
    from regan.verbs.generate_images import generate_images as generate_images
    from regan.verbs.prepare_images import prepare_images as prepare_images
    from regan.verbs.publish_images import publish_images as publish_images
    from regan.verbs.select_snapshot import select_snapshot as select_snapshot
    from regan.verbs.train_classifier import train_classifier as train_classifier
    from regan.verbs.train_gan import train_gan as train_gan


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regan' has no attribute {name!r}. Its public names are: {', '.join(_HOMES)}.")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
