"""Folders in object storage (gs://, s3://) and on local paths, behind one small interface: list, fetch, push.

A pushed folder carries a manifest, written as unfinished before the first file and as complete after the last. So a
reader can tell a whole folder from a half-pushed one, and a folder of ours from somebody else's files. The libraries of
the providers are imported on first use; credentials come from the environment, as these libraries find them.
"""

import hashlib
import importlib
import json
import os
import re
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regan.progress import Progress

MANIFEST = ".regan-push.json"
FORMAT = 1

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?!/)(.*)", re.DOTALL)  # a Path writes gs://x as gs:/x
_TRANSFERS = 8  # at a time: small files wait for the network, not for the processor

_CREDENTIALS = "Storage needs credentials. Found none that are valid for {uri}: {error}. {hint}"
_PERMISSION = "The credentials must allow to list, read and write {uri}. It refused: {error}. Ask the bucket's owner."
_BUCKET = "The bucket must exist. Nothing was found at {uri}: {error}. Check its name."
_ANSWER = "The storage at {uri} must answer. It did not: {error}. Check the network and try again."


@dataclass(frozen=True)
class StoredFile:
    """A file in storage.

    Attributes:
        name: Its path below the address, with forward slashes.
        size: Bytes.
        version: Changes when the content does, as far as the provider says.
    """

    name: str
    size: int
    version: str


def is_uri(path: str) -> bool:
    """Whether a path is an address such as `gs://bucket/folder`, and no local path."""
    return _ADDRESS.match(path) is not None


def list_files(uri: str) -> list[StoredFile]:
    """Files below an address, sorted by name; the one file itself where the address is that of a file.

    Raises:
        ValueError: The address is of another kind.
        FileNotFoundError: There is no such bucket, or nothing at the address.
        PermissionError: Credentials are missing or do not suffice.
        ConnectionError: The storage does not answer as it should.
        ImportError: The provider's library is not installed.
    """
    return _some_files(_store(uri))


def fetch(uri: str, folder: str | Path) -> Path:
    """Copy what lies at an address into a folder.

    Each file is written beside its place and renamed, so none is ever half there. A folder that `push` wrote is checked
    against its manifest.

    Args:
        uri: Address or local path, of a folder or of one file.
        folder: Where to; made if needed.

    Returns:
        `folder`, or the file in it where the address is that of a file.

    Raises:
        ValueError: The folder at the address is half pushed or damaged, or a name in it would lead out of `folder`.
        OSError: As `list_files`.
    """
    store = _store(uri)
    files = _some_files(store)
    hashes = _promised_hashes(store)
    if hashes:
        files = [file for file in files if file.name in hashes]
    places = {file.name: _inside(Path(folder), file.name, uri) for file in files}

    def copy(file: StoredFile) -> None:
        with _beside(places[file.name]) as partial:
            store.download(file.name, partial)
            if partial.stat().st_size != file.size or (hashes and _hash(partial) != hashes[file.name]):
                raise ValueError(
                    f"Every file must arrive as it was pushed. {file.name} of {uri} has other bytes. Try again; if it "
                    "stays so, push the folder again."
                )

    _in_parallel("Fetch files", copy, files)
    return places[files[0].name] if store.is_file else Path(folder)


def push(folder: str | Path, uri: str, *, replace: bool = False) -> None:
    """Copy a folder to an address. The same push again finishes one that was broken off.

    Args:
        folder: The folder, with all below it.
        uri: Address or local path, which must be empty or hold an earlier push.
        replace: Whether another folder that was pushed there may be replaced.

    Raises:
        FileExistsError: The address holds something else already.
        ValueError: `folder` holds no files, or links.
        OSError: As `list_files`.
    """
    paths = _files_to_push(Path(folder))
    hashes = {name: _hash(path) for name, path in paths.items()}
    store = _store(uri)
    before = store.manifest
    if store.files and not before:
        raise FileExistsError(f"The address must be empty. Received {uri}, which holds other files. Name another one.")
    if before.get("complete") and before["files"] == hashes:
        return
    if before.get("complete") and not replace:
        raise FileExistsError(
            f"The address must be empty, so that nothing is lost. Received {uri}, which holds another folder that was "
            "pushed before. Name another address, or remove what is there."
        )
    ours = before.get("files", {}) | hashes
    store.write(MANIFEST, _manifest(ours, complete=False))
    _in_parallel("Push files", lambda name: store.upload(paths[name], name), list(paths))
    for name in sorted({file.name for file in store.files} & set(ours) - set(hashes)):
        store.delete(name)
    store.write(MANIFEST, _manifest(hashes, complete=True))


class _Store(ABC):
    """Files below one address. A subclass says how its provider lists and moves them, by key.

    Attributes:
        files: What lies there, sorted by name, without the manifest.
        manifest: The manifest of a push, empty where there is none.
        is_file: Whether the address is that of one file.
    """

    def __init__(self, uri: str, prefix: str) -> None:
        self.uri, self._prefix, self.is_file = uri, prefix, False
        self._start = start = f"{prefix}/" if prefix else ""
        found = [StoredFile(key[len(start) :], size, version) for key, size, version in self._listed(start)]
        if not found and prefix:
            exact = [entry for entry in self._listed(prefix, limit=1) if entry[0] == prefix]
            self.is_file = bool(exact)
            found = [StoredFile(prefix.rpartition("/")[2], size, version) for _, size, version in exact]
        # Providers show a folder that was made by hand as an empty object whose name ends in a slash.
        found = [file for file in found if file.name and not file.name.endswith("/")]
        self.files = sorted((file for file in found if file.name != MANIFEST), key=lambda file: file.name)
        self.manifest = self._read_manifest() if len(found) > len(self.files) else {}

    @abstractmethod
    def download(self, name: str, target: Path) -> None: ...

    @abstractmethod
    def upload(self, source: Path, name: str) -> None: ...

    @abstractmethod
    def delete(self, name: str) -> None: ...

    def write(self, name: str, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text"
            path.write_text(text, encoding="utf-8")
            self.upload(path, name)

    def _read_manifest(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text"
            self.download(MANIFEST, path)
            found = json.loads(path.read_bytes())
        if found.get("format") != FORMAT:
            raise ValueError(
                f"`{MANIFEST}` must have format {FORMAT}. {self.uri} was pushed by another version of regan."
            )
        return found

    def _key(self, name: str) -> str:
        return self._prefix if self.is_file else self._start + name

    @abstractmethod
    def _listed(self, start: str, limit: int | None = None) -> Iterator[tuple[str, int, str]]: ...


class _Local(_Store):
    def __init__(self, uri: str, path: Path) -> None:
        super().__init__(uri, path.absolute().as_posix())

    def _listed(self, start: str, limit: int | None = None) -> Iterator[tuple[str, int, str]]:
        paths = Path(start).rglob("*") if start.endswith("/") else [Path(start)]
        for path in paths:
            if path.is_file():
                found = path.stat()
                yield path.as_posix(), found.st_size, str(found.st_mtime_ns)

    def download(self, name: str, target: Path) -> None:
        shutil.copyfile(self._key(name), target)

    def upload(self, source: Path, name: str) -> None:
        with _beside(Path(self._key(name))) as partial:
            shutil.copyfile(source, partial)

    def delete(self, name: str) -> None:
        Path(self._key(name)).unlink()


class _Google(_Store):
    def __init__(self, uri: str, bucket: str, prefix: str) -> None:
        storage = _library("google.cloud.storage", uri)
        self.uri = uri
        with self._explained():
            self._bucket = storage.Client().bucket(bucket)
        super().__init__(uri, prefix)

    def _listed(self, start: str, limit: int | None = None) -> Iterator[tuple[str, int, str]]:
        with self._explained():
            for blob in self._bucket.list_blobs(prefix=start, max_results=limit):
                yield blob.name, blob.size, str(blob.generation)

    def download(self, name: str, target: Path) -> None:
        with self._explained():
            self._bucket.blob(self._key(name)).download_to_filename(str(target))

    def upload(self, source: Path, name: str) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        with self._explained():  # the same bytes again do no harm, so each failure may be tried again
            self._bucket.blob(self._key(name)).upload_from_filename(str(source), retry=DEFAULT_RETRY)

    def delete(self, name: str) -> None:
        with self._explained():
            self._bucket.blob(self._key(name)).delete()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from google.api_core import exceptions as api
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
        from requests.exceptions import RequestException

        try:
            yield
        except (DefaultCredentialsError, RefreshError, api.Unauthorized) as error:
            hint = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."
            raise PermissionError(_CREDENTIALS.format(uri=self.uri, error=error, hint=hint)) from error
        except api.Forbidden as error:
            raise PermissionError(_PERMISSION.format(uri=self.uri, error=error)) from error
        except api.NotFound as error:
            raise FileNotFoundError(_BUCKET.format(uri=self.uri, error=error)) from error
        except (api.GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise ConnectionError(_ANSWER.format(uri=self.uri, error=error)) from error


class _Amazon(_Store):
    def __init__(self, uri: str, bucket: str, prefix: str) -> None:
        boto3 = _library("boto3", uri)
        self.uri, self._bucket = uri, bucket
        with self._explained():
            self._client = boto3.session.Session().client("s3")
        super().__init__(uri, prefix)

    def _listed(self, start: str, limit: int | None = None) -> Iterator[tuple[str, int, str]]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._explained():
            for page in pages.paginate(Bucket=self._bucket, Prefix=start, PaginationConfig={"MaxItems": limit}):
                for entry in page.get("Contents", []):
                    yield entry["Key"], entry["Size"], entry["ETag"].strip('"')

    def download(self, name: str, target: Path) -> None:
        with self._explained():
            self._client.download_file(self._bucket, self._key(name), str(target))

    def upload(self, source: Path, name: str) -> None:
        with self._explained():
            self._client.upload_file(str(source), self._bucket, self._key(name))

    def delete(self, name: str) -> None:
        with self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            hint = "Run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            raise PermissionError(_CREDENTIALS.format(uri=self.uri, error=error, hint=hint)) from error
        except (ClientError, Boto3Error, BotoCoreError) as error:
            answer = error if isinstance(error, ClientError) else error.__context__
            code = str(answer.response["Error"]["Code"]) if isinstance(answer, ClientError) else ""
            if code in ("NoSuchBucket", "NoSuchKey", "404"):
                raise FileNotFoundError(_BUCKET.format(uri=self.uri, error=error)) from error
            if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
                raise PermissionError(_PERMISSION.format(uri=self.uri, error=error)) from error
            raise ConnectionError(_ANSWER.format(uri=self.uri, error=error)) from error


def _store(uri: str) -> _Store:
    match = _ADDRESS.match(uri)
    if match is None:
        return _Local(uri, Path(uri))
    scheme, (bucket, _, key) = match[1], match[2].partition("/")
    kinds: dict[str, Callable[[str, str, str], _Store]] = {"gs": _Google, "s3": _Amazon}
    if scheme not in kinds or not bucket:
        raise ValueError(
            "An address must be `gs://bucket/folder`, `s3://bucket/folder` or a local path. "
            f"Received {uri}. Download it first, and name the local folder."
        )
    return kinds[scheme](uri, bucket, key.strip("/"))


def _some_files(store: _Store) -> list[StoredFile]:
    if not store.files:
        local = ": there is no such folder or archive, or it is empty. Check the path."
        advice = ". Check its spelling, and the upload." if is_uri(store.uri) else local
        raise FileNotFoundError(f"There must be files at the address. Found nothing at {store.uri}{advice}")
    return store.files


def _promised_hashes(store: _Store) -> dict[str, str]:
    """SHA-256 of each file that a push put there; empty where the files came in another way."""
    if not store.manifest:
        return {}
    missing = set(store.manifest["files"]) - {file.name for file in store.files}
    if missing or not store.manifest["complete"]:
        raise ValueError(
            f"A pushed folder must be whole before it is read. {store.uri} is not: its push is going on or was broken "
            "off, or files were removed. Push the folder again."
        )
    return store.manifest["files"]


def _manifest(hashes: Mapping[str, str], *, complete: bool) -> str:
    return json.dumps({"format": FORMAT, "complete": complete, "files": dict(hashes)}, indent=1, sort_keys=True) + "\n"


def _files_to_push(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"What is pushed must be a folder. Received {folder}, which is none.")
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    links = [name for name, path in paths.items() if path.is_symlink() or not path.is_file()]
    if links or not paths or MANIFEST in paths:
        raise ValueError(
            "A folder to push must hold regular files only, and at least one. Received "
            f"{folder} with {', '.join(links or paths) or 'nothing in it'}."
        )
    return paths


def _inside(folder: Path, name: str, uri: str) -> Path:
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in name.split("/")):
        raise ValueError(
            f"Names in storage must be plain paths below the address. Received {name!r} at {uri}, which could lead out "
            f"of {folder}. Rename or remove it."
        )
    return folder / name


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A new file beside `place`, renamed to it when the block ends well, removed otherwise."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.parent / f".part-{uuid.uuid4().hex}"
    try:
        yield partial
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


def _in_parallel(what: str, do: Callable[[Any], None], jobs: Sequence[Any]) -> None:
    with Progress(what, total=len(jobs), unit="files") as progress, ThreadPoolExecutor(_TRANSFERS) as pool:
        for _ in pool.map(do, jobs):
            progress.advance()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _library(name: str, uri: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{uri} needs the library {name}. Install it: pip install 'regan[cloud]'.") from error
