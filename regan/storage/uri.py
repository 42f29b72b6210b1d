"""Which provider an address names."""

import re
from pathlib import Path

from regan.storage.gcs import GoogleStore
from regan.storage.local import LocalStore
from regan.storage.provider import Patience, Store
from regan.storage.s3 import AmazonStore

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?!/)(.*)", re.DOTALL)  # a Path writes gs://x as gs:/x


def is_uri(path: str) -> bool:
    """Whether a path is an address such as `gs://bucket/folder`, and no local path."""
    return _ADDRESS.match(path) is not None


def open_store(uri: str, patience: Patience | None = None) -> Store:
    """The store at an address or local path. No request is made yet.

    Raises:
        ValueError: The address is of another kind.
        PermissionError: Credentials are missing.
        ImportError: The provider's library is not installed.
    """
    match = _ADDRESS.match(uri)
    if match is None:
        return LocalStore(uri, Path(uri).absolute().as_posix(), patience)
    scheme, (bucket, _, key) = match[1], match[2].partition("/")
    if scheme == "gs" and bucket:
        return GoogleStore(uri, key.strip("/"), patience, bucket=bucket)
    if scheme == "s3" and bucket:
        return AmazonStore(uri, key.strip("/"), patience, bucket=bucket)
    raise ValueError(
        "An address must be `gs://bucket/folder`, `s3://bucket/folder` or a local path. "
        f"Received {uri}. Download it first, and name the local folder."
    )
