"""Folders in object storage (gs://, s3://) and on local paths, behind one small interface: list, fetch, push.

A pushed folder carries a manifest, written as unfinished before the first file and as complete after the last. So a
reader can tell a whole folder from a half-pushed one, and a folder of ours from somebody else's files. The libraries of
the providers are imported on first use; credentials come from the environment, as these libraries find them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from regan.common.files import atomic_write, file_hash, files_of, in_parallel, inside, room_for
from regan.storage.provider import ConflictError, Store, StoredFile
from regan.storage.uri import is_uri, open_store
from regan.storage.versioned_folder import Version, claim_latest, download_checked, fetch_latest, latest, push_latest

__all__ = [
    "ConflictError",
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
    """Files below an address, sorted by name; the one file itself where the address is that of a file.

    Raises:
        ValueError: The address is of another kind.
        FileNotFoundError: There is no such bucket, or nothing at the address.
        PermissionError: Credentials are missing or do not suffice.
        ConnectionError: The storage does not answer as it should.
        ImportError: The provider's library is not installed.
    """
    return _look(uri).some_files()


def fetch(uri: str, folder: str | Path) -> Path:
    """Copy what lies at an address into a folder.

    Each file is written beside its place and renamed, so none is ever half there. A folder that `push` wrote is checked
    against its manifest, other files against the checksums that the provider keeps.

    Args:
        uri: Address or local path, of a folder or of one file.
        folder: Where to; made if needed.

    Returns:
        `folder`, or the file in it where the address is that of a file.

    Raises:
        ValueError: The folder at the address is half pushed or damaged, or a name in it would lead out of `folder`.
        OSError: The disk is too small, or as `list_files`.
    """
    place, folder = _look(uri), Path(folder)
    files = place.some_files()
    hashes = place.promised_hashes()
    if hashes:
        files = [file for file in files if file.name in hashes]
    targets = {file.name: inside(folder, file.name, uri) for file in files}

    def copy(file: StoredFile) -> None:
        with atomic_write(targets[file.name]) as partial:
            download_checked(place.store, file, partial, hashes.get(file.name, ""))

    with room_for(folder, sum(file.size for file in files)):
        in_parallel("Fetch files", copy, files, place.store.workers)
    return targets[files[0].name] if place.is_file else folder


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
    paths = files_of(Path(folder), [MANIFEST])
    hashes = {name: file_hash(path) for name, path in paths.items()}
    place = _look(uri)
    before = place.manifest
    if place.files and not before:
        raise FileExistsError(f"The address must be empty. Received {uri}, which holds other files. Name another one.")
    if before.get("complete") and before["files"] == hashes:
        return
    if before.get("complete") and not replace:
        raise FileExistsError(
            f"The address must be empty, so that nothing is lost. Received {uri}, which holds another folder that was "
            "pushed before. Name another address, or remove what is there."
        )
    ours = before.get("files", {}) | hashes
    _write_manifest(place.store, ours, complete=False)
    there = {file.name for file in place.files} if before.get("complete") else set()
    new = [name for name in paths if name not in there or before["files"].get(name) != hashes[name]]
    in_parallel("Push files", lambda name: place.store.upload(paths[name], name), new, place.store.workers)
    old = [file for file in place.files if file.name in ours and file.name not in hashes]
    in_parallel("Remove old files", place.store.delete, old, place.store.workers)
    _write_manifest(place.store, hashes, complete=True)


@dataclass(frozen=True)
class _Place:
    """What lies at an address.

    Attributes:
        store: The folder; the one above where the address is that of a file.
        files: Sorted by name, without the manifest.
        manifest: That of a push, empty where there is none.
        is_file: Whether the address is that of one file.
    """

    store: Store
    files: list[StoredFile]
    manifest: dict[str, Any]
    is_file: bool = False

    def some_files(self) -> list[StoredFile]:
        if not self.files:
            uri = self.store.uri
            local = ": there is no such folder or archive, or it is empty. Check the path."
            advice = ". Check its spelling, and the upload." if is_uri(uri) else local
            raise FileNotFoundError(f"There must be files at the address. Found nothing at {uri}{advice}")
        return self.files

    def promised_hashes(self) -> dict[str, str]:
        """SHA-256 of each file that a push put there; empty where the files came in another way."""
        if not self.manifest:
            return {}
        missing = set(self.manifest["files"]) - {file.name for file in self.files}
        if missing or not self.manifest["complete"]:
            raise ValueError(
                f"A pushed folder must be whole before it is read. {self.store.uri} is not: its push is going on or "
                "was broken off, or files were removed. Push the folder again."
            )
        return self.manifest["files"]


def _look(uri: str) -> _Place:
    store = open_store(uri)
    found = sorted(store.files(), key=lambda file: file.name)
    itself = None if found else store.itself()
    if itself is not None:
        return _Place(store.parent(), [itself], {}, is_file=True)
    files = [file for file in found if file.name != MANIFEST]
    return _Place(store, files, _read_manifest(store) if len(files) < len(found) else {})


def _read_manifest(store: Store) -> dict[str, Any]:
    found = store.read(MANIFEST)
    fields = json.loads(found[0]) if found else {}
    if found and fields.get("format") != FORMAT:
        raise ValueError(f"`{MANIFEST}` must have format {FORMAT}. {store.uri} was pushed by another version of regan.")
    return fields


def _write_manifest(store: Store, hashes: Mapping[str, str], *, complete: bool) -> None:
    fields = {"format": FORMAT, "complete": complete, "files": dict(hashes)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
        store.upload(path, MANIFEST)
