"""URIs, and the provider that each one selects."""

import re
from pathlib import Path

from regan.common.errors import UnsupportedURIError
from regan.storage.gcs import GCSStore
from regan.storage.local import LocalStore
from regan.storage.provider import ObjectStore, RetryPolicy
from regan.storage.s3 import S3Store

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?!/)(.*)", re.DOTALL)  # `Path` turns gs://x into gs:/x


def is_uri(path: str) -> bool:
    """Whether a path is a URI such as `gs://bucket/folder`, and not a local path."""
    return _URI.match(path) is not None


def open_store(uri: str, retry: RetryPolicy | None = None) -> ObjectStore:
    """The store at a URI or local path. No request is made yet.

    Raises:
        UnsupportedURIError: The URI has another scheme, or no bucket.
        StorageAccessError: Credentials are missing.
        MissingLibraryError: The provider's library is not installed.
    """
    match = _URI.match(uri)
    if match is None:
        return LocalStore(uri, Path(uri).absolute().as_posix(), retry)
    scheme, (bucket, _, key) = match[1], match[2].partition("/")
    if scheme == "gs" and bucket:
        return GCSStore(uri, key.strip("/"), retry, bucket=bucket)
    if scheme == "s3" and bucket:
        return S3Store(uri, key.strip("/"), retry, bucket=bucket)
    raise UnsupportedURIError(f"Unsupported URI {uri}: use gs://, s3:// or a local path.")
