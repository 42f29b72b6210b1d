"""Versions of a folder at a stable URI, with a pointer that is replaced by compare-and-swap.

The URI contains `latest.json` (number, ID of the writer, names and hashes of the newest version and of the previous
one) and `objects/<sha256>-<push>`. Files are uploaded first, the pointer last. So a reader always finds a complete
version, and an interrupted push changes nothing. No name of an object is used twice: a deletion that a slow process or
network delivers late cannot remove anything that was pushed since.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from regan.common.errors import ConflictError, CorruptFileError, FilesChangedError, WrongArtifactError
from regan.common.files import PARTIAL, disk_space_for, file_hash, files_to_push, in_parallel, path_inside
from regan.storage.provider import ObjectStore, StoredFile
from regan.storage.uri import open_store

_LOG = logging.getLogger("regan")

POINTER = "latest.json"
OBJECTS = "objects/"
FORMAT = 1
_TRIES = 10  # how often a reader follows a pointer that another writer moves
# Files of an interrupted push are removed after a day, so that no running push loses the files that it has uploaded.
_ORPHAN_SECONDS = 86_400.0


@dataclass(frozen=True)
class Version:
    """A version of a folder.

    Attributes:
        number: 1, 2, ...
        files: SHA-256 of each file, by its name with forward slashes.
        token: The provider's token of the pointer, for compare-and-swap.
    """

    number: int
    files: Mapping[str, str]
    token: str


@dataclass(frozen=True)
class _Pointer:
    number: int
    files: dict[str, str]
    before: dict[str, Any]  # number and files of the previous version, empty if there is none
    objects: dict[str, str]  # hash -> name of its object
    writer: str
    token: str

    @property
    def versions(self) -> list[Version]:
        newest = Version(self.number, self.files, self.token)
        before = [Version(self.before["number"], self.before["files"], self.token)] if self.before else []
        return [newest, *before]


def latest(uri: str) -> Version | None:
    """The newest version at a URI, without its files; None if nothing was ever pushed.

    Raises:
        UnsupportedURIError: The URI has another scheme.
        WrongArtifactError: Another program wrote its pointer.
        OSError: As `regan.storage.list_files`.
    """
    pointer = _read(open_store(uri))
    return pointer.versions[0] if pointer else None


def fetch_latest(uri: str, folder: str | Path) -> Version | None:
    """Copy the newest complete version at a URI into a folder.

    Files that are in the folder already, with the right hash, are not fetched again; other files there stay. The
    folder does not change before all files have arrived and were checked.

    Args:
        uri: URI or local path that `push_latest` wrote to.
        folder: Target folder; made if needed.

    Returns:
        The version, or None if nothing was ever pushed. If the newest version is corrupt, a warning is logged and the
        previous one is fetched.

    Raises:
        CorruptFileError: Both versions at the URI are corrupt.
        UnsafeFileError: A name in a version would lead out of `folder`.
        DiskFullError: The disk is too small.
        OSError: As `regan.storage.list_files`.
    """
    store = open_store(uri)
    pointer, folder = _read(store), Path(folder)
    for tries_left in reversed(range(_TRIES)):
        if pointer is None:
            return None
        fetched, problems = _fetch_complete(store, pointer, folder)
        if fetched and not problems:
            return fetched
        now = _read(store)
        if now is None or now.token == pointer.token or not tries_left:
            return _report_problems(uri, pointer, fetched, problems)
        pointer = now  # a writer pushed meanwhile, and removed the files that we were reading
    return None


def _report_problems(uri: str, pointer: _Pointer, fetched: Version | None, problems: list[str]) -> Version:
    if fetched is None:
        raise CorruptFileError(
            f"All versions at {uri} are corrupt: {'; '.join(problems)}. Restore the files from a backup, or remove "
            "everything at the URI to start again."
        )
    _LOG.warning("%s: version %d is corrupt (%s). Using version %d.", uri, pointer.number, problems[0], fetched.number)
    return fetched


def push_latest(folder: str | Path, uri: str, previous: Version | None, *, writer: str = "") -> Version:
    """Push the content of a folder as the newest version at a URI.

    Only files that `previous` does not have are uploaded. The last two versions stay; files of older ones are removed.

    Args:
        folder: The folder, with its subfolders; it must not change during the push.
        uri: URI or local path that contains nothing else.
        previous: The version that this one follows, as `fetch_latest`, `claim_latest` or the last push returned it;
            None if nothing was ever pushed.
        writer: Unique ID of the writer. An earlier push or claim with this ID whose response was lost is not a
            conflict: this version follows it.

    Returns:
        The new version.

    Raises:
        ConflictError: Another writer pushed a version meanwhile. It stays as it is.
        WrongArtifactError: `folder` contains no files, or links.
        FilesChangedError: A file changed during the upload.
        OSError: As `regan.storage.list_files`. The version may have been pushed or not.
    """
    store, writer = open_store(uri), writer or uuid.uuid4().hex
    try:
        return _push(Path(folder), store, previous, writer)
    except ConflictError:
        own = _own(store, writer)
        if own is None:
            raise
    return _push(Path(folder), store, own.versions[0], writer)


def claim_latest(uri: str, previous: Version, *, writer: str = "") -> Version:
    """Write the same version with the ID of a new writer, so that the next push of the old one ends in ConflictError.

    Args:
        uri: URI or local path.
        previous: The version there, as `latest` or `fetch_latest` returned it.
        writer: As for `push_latest`.

    Returns:
        The same version, for the next `push_latest`.

    Raises:
        ConflictError: Another writer pushed a version meanwhile.
        OSError: As `regan.storage.list_files`.
    """
    store, writer = open_store(uri), writer or uuid.uuid4().hex
    try:
        pointer = _require_previous(store, previous)
        if pointer is None:
            raise ValueError("There is no version to claim. Push the first one with `push_latest`.")
        token = _swap(store, replace(pointer, writer=writer), pointer.token)
    except ConflictError:
        own = _own(store, writer)
        if own is None or previous not in [replace(version, token=previous.token) for version in own.versions]:
            raise
        token = own.token
    return replace(previous, token=token)


def _own(store: ObjectStore, writer: str) -> _Pointer | None:
    """The pointer, if this writer wrote it and the response to that write was lost."""
    try:
        pointer = _read(store)
    except WrongArtifactError:  # of another program
        return None
    return pointer if pointer and pointer.writer == writer else None


def _push(folder: Path, store: ObjectStore, previous: Version | None, writer: str) -> Version:
    paths = files_to_push(folder, ())
    states = {name: _state(path) for name, path in paths.items()}
    hashes = {name: file_hash(path) for name, path in paths.items()}
    pointer = _require_previous(store, previous)
    there = {file.name.removeprefix(OBJECTS): file for file in store.files(OBJECTS)}
    reusable = _previous_objects(pointer, previous)
    by_hash = {hashes[name]: name for name in sorted(paths)}
    push_id = uuid.uuid4().hex[:16]
    new = {
        digest: f"{digest}-{push_id}"
        for digest, name in by_hash.items()
        if reusable.get(digest) not in there or there[reusable[digest]].size != states[name][1]
    }
    in_parallel(
        "Push files",
        lambda digest: store.upload(paths[by_hash[digest]], OBJECTS + new[digest]),
        list(new),
        store.workers,
    )
    _require_unchanged(folder, paths, states)
    before = {"number": previous.number, "files": dict(previous.files)} if previous else {}
    objects = reusable | new
    following = _Pointer(pointer.number + 1 if pointer else 1, hashes, before, objects, writer, "")
    token = _swap(store, following, pointer.token if pointer else None)
    _remove_old(store, token, there, keep=set(objects.values()), pointer=pointer)
    return Version(following.number, hashes, token)


def _previous_objects(pointer: _Pointer | None, previous: Version | None) -> dict[str, str]:
    """Objects, hash -> name, of the version that stays beside the new one.

    Objects of older versions do not count: another writer may remove them any moment.
    """
    if pointer is None or previous is None:
        return {}
    return {digest: pointer.objects[digest] for digest in previous.files.values()}


def _require_unchanged(folder: Path, paths: Mapping[str, Path], states: Mapping[str, tuple[int, int]]) -> None:
    changed = [name for name, path in paths.items() if _state(path) != states[name]]
    if changed:  # the uploaded files belong to no version, and are removed after a day
        raise FilesChangedError(
            f"Files changed during upload; try again when nothing is writing to {folder}. Changed: "
            f"{', '.join(changed[:3])}."
        )


def _read(store: ObjectStore) -> _Pointer | None:
    found = store.read(POINTER)
    if found is None:
        return None
    try:
        fields = json.loads(found[0])
        known = isinstance(fields, dict) and fields.get("format") == FORMAT
        if known:
            files, before = dict(fields["files"]), dict(fields["previous"])
            objects = {digest: digest for digest in (*files.values(), *before.get("files", {}).values())}
            objects |= fields.get("objects", {})  # early versions had no such field: an object was named by its hash
            return _Pointer(int(fields["number"]), files, before, objects, str(fields["writer"]), found[1])
    except (ValueError, KeyError, TypeError):
        pass
    raise WrongArtifactError(
        f"`{POINTER}` at {store.uri} is not a pointer of format {FORMAT}: another program wrote it. Use another URI."
    )


def _require_previous(store: ObjectStore, previous: Version | None) -> _Pointer | None:
    """The pointer, which must be that of `previous`. Checked first, so that no push uploads files in vain."""
    pointer = _read(store)
    if (pointer.token if pointer else None) != (previous.token if previous else None):
        raise ConflictError(
            f"Another writer changed {store.uri}: it had {_name(previous)} when it was last read, and now has "
            f"{_name(pointer)}. Stop one of the two writers, then fetch the newest version and start from it."
        )
    return pointer


def _name(version: Version | _Pointer | None) -> str:
    return f"version {version.number}" if version else "no version"


def _swap(store: ObjectStore, pointer: _Pointer, token: str | None) -> str:
    fields = {
        "format": FORMAT,
        "number": pointer.number,
        "writer": pointer.writer,
        "write": uuid.uuid4().hex,  # so that no two pointers have the same bytes: see `compare_and_swap`
        "files": pointer.files,
        "objects": pointer.objects,
        "previous": pointer.before,
    }
    return store.compare_and_swap(POINTER, (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode(), token)


def _fetch_complete(store: ObjectStore, pointer: _Pointer, folder: Path) -> tuple[Version | None, list[str]]:
    """The newest version that arrives complete, and the problems of newer ones."""
    found = {file.name.removeprefix(OBJECTS): file for file in store.files(OBJECTS)}
    there = {digest: found[name] for digest, name in pointer.objects.items() if name in found}
    problems: list[str] = []
    for version in pointer.versions:
        try:
            _fetch_version(store, version, there, folder)
            return version, problems
        except (CorruptFileError, FileNotFoundError) as error:
            problems.append(str(error))
    return None, problems


def _fetch_version(store: ObjectStore, version: Version, there: Mapping[str, StoredFile], folder: Path) -> None:
    paths = {name: path_inside(folder, name, store.uri) for name in version.files}
    wanted = {
        name: digest
        for name, digest in version.files.items()
        if not paths[name].is_file() or file_hash(paths[name]) != digest
    }
    lost = sorted(name for name, digest in wanted.items() if digest not in there)
    if lost:
        raise CorruptFileError(f"missing: {', '.join(lost[:3])}")
    size = sum(there[digest].size for digest in wanted.values())
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{PARTIAL}*/"):  # left by a fetch that was killed
        shutil.rmtree(stale)
    with disk_space_for(folder, size), TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
        arrived = {name: Path(partial) / str(number) for number, name in enumerate(wanted)}
        in_parallel(
            "Fetch files",
            lambda name: download_checked(store, there[wanted[name]], arrived[name], wanted[name]),
            list(wanted),
            store.workers,
        )
        for name, path in arrived.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            path.replace(paths[name])


def download_checked(store: ObjectStore, file: StoredFile, target: Path, digest: str = "") -> None:
    """Download a file, and try again a few times if it arrives corrupt.

    Args:
        store: The store.
        file: The file, as it was listed.
        target: Path to write.
        digest: Expected SHA-256, hexadecimal; empty if none is known.

    Raises:
        CorruptFileError: It arrives corrupt each time.
        NoFilesError: It is gone.
    """
    for attempt in range(1, store.retry.attempts + 1):
        try:
            store.download(file, target, checked=not digest)
            if target.stat().st_size != file.size or (digest and file_hash(target) != digest):
                raise CorruptFileError(
                    f"{file.name} at {store.uri} is corrupt: it differs from the file that was pushed"
                )
            return
        except CorruptFileError:
            if attempt == store.retry.attempts:
                raise


def _remove_old(
    store: ObjectStore, token: str, there: Mapping[str, StoredFile], *, keep: set[str], pointer: _Pointer | None
) -> None:
    """Remove objects that were there before the swap and belong to neither version, if the pointer is still ours."""
    dropped = set(pointer.objects.values()) if pointer else set()
    newest = max((file.modified for file in there.values()), default=0.0)  # by the provider's clock, as `modified` is
    old = [
        file
        for name, file in there.items()
        if name not in keep and (name in dropped or newest - file.modified > _ORPHAN_SECONDS)
    ]
    try:
        now = store.read(POINTER) if old else None
        if now is not None and now[1] == token:
            in_parallel("Remove old files", store.delete, old, store.workers)
    except OSError as error:  # the version is pushed; a later push removes the rest
        _LOG.warning("%s: files of an older version could not be removed: %s", store.uri, error)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
