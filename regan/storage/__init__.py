"""Folders in object storage (gs://, s3://) and on local paths, behind one small interface: list, fetch, push.

A pushed folder contains a manifest, written as incomplete before the first file and as complete after the last. So a
reader can tell a complete folder from an interrupted push, and a pushed folder from other files. The client libraries
of the providers are imported on first use, and find credentials in the environment as usual.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from regan.common.errors import CorruptFileError, NoFilesError, OutputExistsError, WrongArtifactError
from regan.common.files import atomic_write, disk_space_for, file_hash, files_to_push, in_parallel, path_inside
from regan.storage.provider import ObjectStore, StoredFile
from regan.storage.uri import is_uri, open_store
from regan.storage.versioned_folder import Version, claim_latest, download_checked, fetch_latest, latest, push_latest

__all__ = [
    "StoredFile",
    "Version",
    "claim_latest",
    "fetch",
    "fetch_latest",
    "is_uri",
    "latest",
    "list_files",
    "push",
    "push_latest",
]

MANIFEST = ".regan-push.json"
FORMAT = 1


def list_files(uri: str) -> list[StoredFile]:
    """Files below a URI, sorted by name; one file if the URI is that of a file.

    Raises:
        UnsupportedURIError: The URI has another scheme.
        NoFilesError: The bucket does not exist, or there are no files at the URI.
        StorageAccessError: Credentials are missing or do not suffice.
        StorageUnavailableError: Storage cannot be reached, or responds with a failure.
        MissingLibraryError: The provider's library is not installed.
    """
    return _read_location(uri).require_files()


def fetch(uri: str, folder: str | Path) -> Path:
    """Copy the files at a URI into a folder.

    Each file is written beside its target and renamed, so no file is ever incomplete. A folder that `push` wrote is
    checked against its manifest, other files against the checksums of the provider.

    Args:
        uri: URI or local path, of a folder or of one file.
        folder: Target folder; made if needed.

    Returns:
        `folder`, or the file in it if the URI is that of a file.

    Raises:
        CorruptFileError: The folder at the URI is incomplete or corrupt.
        UnsafeFileError: A name in it would lead out of `folder`.
        DiskFullError: The disk is too small.
        OSError: As `list_files`.
    """
    location, folder = _read_location(uri), Path(folder)
    files = location.require_files()
    hashes = location.pushed_hashes()
    if hashes:
        files = [file for file in files if file.name in hashes]
    targets = {file.name: path_inside(folder, file.name, uri) for file in files}

    def copy(file: StoredFile) -> None:
        with atomic_write(targets[file.name]) as partial:
            download_checked(location.store, file, partial, hashes.get(file.name, ""))

    with disk_space_for(folder, sum(file.size for file in files)):
        in_parallel("Fetch files", copy, files, location.store.workers)
    return targets[files[0].name] if location.is_file else folder


def push(folder: str | Path, uri: str, *, replace: bool = False) -> None:
    """Copy a folder to a URI. Repeating the same push completes one that was interrupted.

    Args:
        folder: The folder, with its subfolders.
        uri: URI or local path, empty or written by an earlier push.
        replace: Whether another folder that was pushed there may be replaced.

    Raises:
        OutputExistsError: There are other files at the URI.
        WrongArtifactError: `folder` contains no files, or links.
        OSError: As `list_files`.
    """
    paths = files_to_push(Path(folder), [MANIFEST])
    hashes = {name: file_hash(path) for name, path in paths.items()}
    location = _read_location(uri)
    before = location.manifest
    if location.files and not before:
        raise OutputExistsError(f"{uri} is not empty: it contains files that no push wrote. Use another URI.")
    if before.get("complete") and before["files"] == hashes:
        return
    if before.get("complete") and not replace:
        raise OutputExistsError(
            f"{uri} contains another folder that was pushed earlier. Use another URI, or remove what is there; nothing "
            "was overwritten."
        )
    # The incomplete manifest names the files of both pushes: whatever this one leaves, the next one may remove.
    ours = before.get("files", {}) | hashes
    _write_manifest(location.store, ours, complete=False)
    there = {file.name for file in location.files} if before.get("complete") else set()
    new = [name for name in paths if name not in there or before["files"].get(name) != hashes[name]]
    in_parallel("Push files", lambda name: location.store.upload(paths[name], name), new, location.store.workers)
    old = [file for file in location.files if file.name in ours and file.name not in hashes]
    in_parallel("Remove old files", location.store.delete, old, location.store.workers)
    _write_manifest(location.store, hashes, complete=True)


@dataclass(frozen=True)
class _Location:
    """The files at a URI.

    Attributes:
        store: The folder; its parent if the URI is that of a file.
        files: Sorted by name, without the manifest.
        manifest: Manifest of a push, empty if there is none.
        is_file: Whether the URI is that of one file.
    """

    store: ObjectStore
    files: list[StoredFile]
    manifest: dict[str, Any]
    is_file: bool = False

    def require_files(self) -> list[StoredFile]:
        if not self.files:
            uri = self.store.uri
            advice = "Check the path and your permissions."
            if not is_uri(uri):
                advice = "There is no such folder or archive, or it is empty. Check the path."
            raise NoFilesError(f"No files found at {uri}. {advice}")
        return self.files

    def pushed_hashes(self) -> dict[str, str]:
        """SHA-256 of each file by its name, from the manifest; empty if no push wrote the files."""
        if not self.manifest:
            return {}
        missing = set(self.manifest["files"]) - {file.name for file in self.files}
        if missing or not self.manifest["complete"]:
            raise CorruptFileError(
                f"The folder at {self.store.uri} is incomplete: its push is running or was interrupted, or files were "
                "removed. Push the folder again."
            )
        return self.manifest["files"]


def _read_location(uri: str) -> _Location:
    store = open_store(uri)
    found = sorted(store.files(), key=lambda file: file.name)
    single_file = None if found else store.single_file()
    if single_file is not None:
        return _Location(store.parent(), [single_file], {}, is_file=True)
    files = [file for file in found if file.name != MANIFEST]
    return _Location(store, files, _read_manifest(store) if len(files) < len(found) else {})


def _read_manifest(store: ObjectStore) -> dict[str, Any]:
    found = store.read(MANIFEST)
    fields = json.loads(found[0]) if found else {}
    if found and fields.get("format") != FORMAT:
        raise WrongArtifactError(
            f"`{MANIFEST}` at {store.uri} has format {fields.get('format')!r}; this version reads format {FORMAT}. "
            "Push the folder again, or use the version of regan that pushed it."
        )
    return fields


def _write_manifest(store: ObjectStore, hashes: Mapping[str, str], *, complete: bool) -> None:
    fields = {"format": FORMAT, "complete": complete, "files": dict(hashes)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
        store.upload(path, MANIFEST)
