"""Kubeflow components: one file a verb of `regan`, each a signature, a docstring and one call.

Two more stand at the ends of a run, `preflight` and `explain_run`; `filter_image_shards` takes lists of image sets.
"""

from components.audit_images import audit_images
from components.compare_classifiers import compare_classifiers
from components.evaluate_classifier import evaluate_classifier
from components.explain_run import explain_run
from components.filter_images import filter_image_shards, filter_images
from components.generate_images import generate_images
from components.preflight import preflight
from components.prepare_images import prepare_images
from components.publish_images import publish_images
from components.select_snapshot import select_snapshot
from components.train_classifier import train_classifier
from components.train_gan import train_gan

__all__ = [
    "audit_images",
    "compare_classifiers",
    "evaluate_classifier",
    "explain_run",
    "filter_image_shards",
    "filter_images",
    "generate_images",
    "preflight",
    "prepare_images",
    "publish_images",
    "select_snapshot",
    "train_classifier",
    "train_gan",
]
