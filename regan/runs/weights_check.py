"""Whether the initial weights of the classifiers are available, and which they are."""

import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from regan.common.errors import WrongArtifactError
from regan.common.files import file_hash
from regan.common.text import one_line
from regan.runs.checks import Check
from regan.storage import fetch, is_uri, list_files

KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications/"  # where keras.applications downloads
_NAME = "classifier weights"
_ADVICE = "Set classifier_weights=none, or to the path or URI of a .weights.h5 file of the backbone"


def weights_check(weights: str, backbone: str, *, host: str = KERAS_WEIGHTS, seconds: float = 5.0) -> Check:
    """Whether the initial weights of a classifier are available, and which they are.

    Args:
        weights: "none", "imagenet", or the path or URI (gs://, s3://) of a file.
        backbone: Backbone that they belong to.
        host: URL that must answer where Keras has to download them.
        seconds: Timeout for its answer, seconds.
    """
    if weights == "none":
        return Check(_NAME, "none: training starts from random weights", "", "yes")
    if backbone == "small":
        advice = "Set classifier_weights=none, or set classifier_backbone to another network."
        return Check(
            _NAME,
            f"{weights} for the backbone small",
            "none: the backbone small has no pretrained weights",
            "no",
            advice,
        )
    if weights == "imagenet":
        return _imagenet_check(backbone, host, seconds)
    return _file_check(weights)


def _imagenet_check(backbone: str, host: str, seconds: float) -> Check:
    cached = _cached_file(backbone)
    if cached is not None:
        return Check(_NAME, f"{cached.name} in Keras' cache, {_identity(cached)}", "", "yes")
    expected = f"an answer from {host.split('/')[2]} within {seconds:g} s, or the file in {_cache()}"
    try:
        request = urllib.request.Request(host, method="HEAD")
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        # The root of a bucket need not be a page: any answer below 500 shows that the host is reachable.
        status = error.code
    except (OSError, ValueError) as error:
        reason = one_line(str(getattr(error, "reason", error)))
        return Check(_NAME, f"imagenet, but {host} does not answer: {reason}", expected, "no", f"{_ADVICE}.")
    if status >= 500 or status == 407:
        return Check(_NAME, f"imagenet, but {host} answers with {status}", expected, "no", f"{_ADVICE}.")
    return Check(_NAME, f"imagenet, to be downloaded; the host answers with {status}", expected, "yes")


def _file_check(weights: str) -> Check:
    expected = "a readable file"
    try:
        files = list_files(weights)
        if len(files) != 1 or (not is_uri(weights) and not Path(weights).is_file()):
            raise WrongArtifactError("a folder, not a file")
        with tempfile.TemporaryDirectory() as folder:
            path = fetch(weights, folder) if is_uri(weights) else Path(weights)
            return Check(_NAME, f"{path.name}, {_identity(path)}", expected, "yes")
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        return Check(_NAME, f"{weights}: {one_line(str(error))}", expected, "no", f"{_ADVICE} that exists.")


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _cached_file(backbone: str) -> Path | None:
    """The file in Keras' cache with the weights without a head; names differ only in punctuation and case."""
    wanted = re.compile(rf"{_letters(backbone)}(?!v\d).*notop")
    try:
        found = sorted(path for path in _cache().iterdir() if path.suffix == ".h5" and path.is_file())
    except OSError:
        return None
    return next((path for path in found if wanted.fullmatch(_letters(path.stem))), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _identity(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes, SHA-256 {file_hash(path)}"
