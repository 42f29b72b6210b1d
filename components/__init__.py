"""Kubeflow components: one file a verb of `regan`, each a signature, a docstring and one call."""

from components.audit_images import audit_images
from components.compare_classifiers import compare_classifiers
from components.evaluate_classifier import evaluate_classifier
from components.filter_images import filter_images
from components.generate_images import generate_images
from components.prepare_images import prepare_images
from components.publish_images import publish_images
from components.select_snapshot import select_snapshot
from components.train_classifier import train_classifier
from components.train_gan import train_gan

__all__ = [
    "audit_images",
    "compare_classifiers",
    "evaluate_classifier",
    "filter_images",
    "generate_images",
    "prepare_images",
    "publish_images",
    "select_snapshot",
    "train_classifier",
    "train_gan",
]
