"""What must not leave the hospital: how a history is cut down to what may be published."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regan.artifacts.entries import PublishImagesEntry
from regan.artifacts.history import Step

LEFT_OUT = "left out of the published copy"
# Settings that name places on the disk or in the storage of those who made the images, which often name patients.
_PLACES = frozenset(
    name
    for names in (
        "source folder path output release checkpoint_uri release_uri split_uri start_uri report_uri generator_uri",
        "train validation test images run generator synthetic negative positive classifier start",
        "predictions audit candidate reference control report",
    )
    for name in names.split()
)
# Settings that speak of the patients of one place: text that a person may have written, and hashes of their images.
_OF_PATIENTS = frozenset({"data_version", "test_set", "last_verdict"})
_HASH = re.compile(r"[0-9a-f]{16,64}")
LICENCES = frozenset({"license", "licence", "weights_license", "weights_licence"})


def without_private(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The same steps without images and tables of patients, and without the names of files and folders.

    Of synthetic images only the sheets of a release are left: those of other steps may show copies of training images.
    """
    return {
        name: replace(
            step,
            thumbnails=step.thumbnails if step.verb == PublishImagesEntry.verb else {},
            private_tables={},
            private_thumbnails={},
            settings=public_settings(step.settings),
        )
        for name, step in steps.items()
    }


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a step with every path and address replaced by a note; everything else as it is.

    The version of the data, the hash of the test images and the verdict of an earlier run are not there at all.
    """
    return {key: _public(key, value) for key, value in settings.items() if key not in _OF_PATIENTS}


def _public(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return public_settings(value)
    if isinstance(value, list | tuple):
        return [_public(key, item) for item in value]
    if not isinstance(value, str) or value == "" or key in LICENCES:
        return value
    if _HASH.fullmatch(value):
        return value
    return LEFT_OUT if key in _PLACES or "/" in value or "\\" in value else value
