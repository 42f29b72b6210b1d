"""Versions of a folder at a stable address, with a pointer that is swapped whole or not at all.

At the address lie `latest.json` (number, writer's mark, names and hashes of the newest version and of the one before)
and `objects/<sha256>-<push>`. Files come first, the pointer last. So whoever reads finds a whole version, and a push
that is broken off changes nothing. No name of an object is used twice: whoever removes one late, or whose removal a
slow network delivers late, hits nothing that was pushed since.
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

from regan.common.files import PARTIAL, file_hash, files_of, in_parallel, inside, room_for
from regan.storage.provider import ConflictError, DamageError, Store, StoredFile
from regan.storage.uri import open_store

_LOG = logging.getLogger("regan")

POINTER = "latest.json"
OBJECTS = "objects/"
FORMAT = 1
_TRIES = 10  # as often as a reader follows a pointer that moves on
_ORPHAN_SECONDS = 86_400.0  # files of a push that was broken off are removed after a day, none of a push going on


@dataclass(frozen=True)
class Version:
    """A version of a folder.

    Attributes:
        number: 1, 2, ...
        files: SHA-256 of each file, by its name with forward slashes.
        token: The provider's mark of the pointer, for preconditions.
    """

    number: int
    files: Mapping[str, str]
    token: str


@dataclass(frozen=True)
class _Pointer:
    number: int
    files: dict[str, str]
    before: dict[str, Any]  # number and files of the version before, empty where there is none
    objects: dict[str, str]  # name of the object with each hash
    writer: str
    token: str

    @property
    def versions(self) -> list[Version]:
        newest = Version(self.number, self.files, self.token)
        before = [Version(self.before["number"], self.before["files"], self.token)] if self.before else []
        return [newest, *before]


def latest(uri: str) -> Version | None:
    """The newest version at an address, without its files; None where nothing was ever pushed.

    Raises:
        ValueError: The address is of another kind, or another program wrote its pointer.
        OSError: As `regan.storage.list_files`.
    """
    pointer = _read(open_store(uri))
    return pointer.versions[0] if pointer else None


def fetch_latest(uri: str, folder: str | Path) -> Version | None:
    """Copy the newest whole version at an address into a folder.

    Files that are there with the right bytes are not fetched again; files that the version does not have stay. Nothing
    in the folder changes before all files have arrived and were checked.

    Args:
        uri: Address or local path that `push_latest` wrote to.
        folder: Where to; made if needed.

    Returns:
        The version, or None where nothing was ever pushed. Where the newest one is damaged, that is logged as a
        warning, and the one before it is taken.

    Raises:
        ValueError: Both versions at the address are damaged, or a name in them would lead out of `folder`.
        OSError: The disk is too small, or as `regan.storage.list_files`.
    """
    store = open_store(uri)
    pointer, folder = _read(store), Path(folder)
    for tries_left in reversed(range(_TRIES)):
        if pointer is None:
            return None
        fetched, damage = _fetch_whole(store, pointer, folder)
        if fetched and not damage:
            return fetched
        now = _read(store)
        if now is None or now.token == pointer.token or not tries_left:
            return _second_best(uri, pointer, fetched, damage)
        pointer = now  # a writer moved on, and removed what we were reading
    return None


def _second_best(uri: str, pointer: _Pointer, fetched: Version | None, damage: list[str]) -> Version:
    if fetched is None:
        raise ValueError(
            f"At least one version must be whole. Both at {uri} are damaged: {'; '.join(damage)}. "
            "Restore the files from a backup, or remove the address to start anew."
        )
    _LOG.warning("%s: version %d is damaged (%s). Version %d is taken.", uri, pointer.number, damage[0], fetched.number)
    return fetched


def push_latest(folder: str | Path, uri: str, previous: Version | None, *, writer: str = "") -> Version:
    """Make a folder's present content the newest version at an address.

    Only files that `previous` does not have are moved. The last two versions are kept, files of older ones removed.

    Args:
        folder: The folder, with all below it, at rest while it is pushed.
        uri: Address or local path, of which this is the only use.
        previous: The version that this one follows, as `fetch_latest`, `claim_latest` or the last push gave it; None
            where nothing was ever pushed.
        writer: Mark of the writer, unlike that of any other. An earlier push or claim under it whose reply was lost is
            no conflict: this version follows it.

    Returns:
        The new version.

    Raises:
        ConflictError: Another version lies there by now. It stays as it is.
        ValueError: `folder` holds no files, or links, or a file changed while it was pushed.
        OSError: As `regan.storage.list_files`. The version may lie there or not.
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
    """Put the same version under a new writer's mark, so that an older writer's next push ends in ConflictError.

    Args:
        uri: Address or local path.
        previous: The version there, as `latest` or `fetch_latest` gave it.
        writer: As of `push_latest`.

    Returns:
        The same version, to follow with `push_latest`.

    Raises:
        ConflictError: Another version lies there by now.
        OSError: As `regan.storage.list_files`.
    """
    store, writer = open_store(uri), writer or uuid.uuid4().hex
    try:
        pointer = _require_previous(store, previous)
        if pointer is None:
            raise ValueError("`previous` must be a version. Received None. Push the first one with `push_latest`.")
        token = _swap(store, replace(pointer, writer=writer), pointer.token)
    except ConflictError:
        own = _own(store, writer)
        if own is None or previous not in [replace(version, token=previous.token) for version in own.versions]:
            raise
        token = own.token
    return replace(previous, token=token)


def _own(store: Store, writer: str) -> _Pointer | None:
    """The pointer, if this writer wrote it: the reply to that write was lost."""
    try:
        pointer = _read(store)
    except ValueError:  # of another program
        return None
    return pointer if pointer and pointer.writer == writer else None


def _push(folder: Path, store: Store, previous: Version | None, writer: str) -> Version:
    paths = files_of(folder, ())
    states = {name: _state(path) for name, path in paths.items()}
    hashes = {name: file_hash(path) for name, path in paths.items()}
    pointer = _require_previous(store, previous)
    there = {file.name.removeprefix(OBJECTS): file for file in store.files(OBJECTS)}
    kept = _kept_objects(pointer, previous)
    by_hash = {hashes[name]: name for name in sorted(paths)}
    mark = uuid.uuid4().hex[:16]
    new = {
        digest: f"{digest}-{mark}"
        for digest, name in by_hash.items()
        if kept.get(digest) not in there or there[kept[digest]].size != states[name][1]
    }
    in_parallel(
        "Push files",
        lambda digest: store.upload(paths[by_hash[digest]], OBJECTS + new[digest]),
        list(new),
        store.workers,
    )
    _require_at_rest(folder, paths, states)
    before = {"number": previous.number, "files": dict(previous.files)} if previous else {}
    objects = kept | new
    following = _Pointer(pointer.number + 1 if pointer else 1, hashes, before, objects, writer, "")
    token = _swap(store, following, pointer.token if pointer else None)
    _remove_old(store, token, there, keep=set(objects.values()), pointer=pointer)
    return Version(following.number, hashes, token)


def _kept_objects(pointer: _Pointer | None, previous: Version | None) -> dict[str, str]:
    """Objects of the version that stays beside the new one.

    What only older ones had may be removed by another writer any moment, so it does not count as there.
    """
    if pointer is None or previous is None:
        return {}
    return {digest: pointer.objects[digest] for digest in previous.files.values()}


def _require_at_rest(folder: Path, paths: Mapping[str, Path], states: Mapping[str, tuple[int, int]]) -> None:
    changed = [name for name, path in paths.items() if _state(path) != states[name]]
    if changed:  # what was pushed belongs to no version, and goes after a day
        raise ValueError(
            f"A folder must be at rest while it is pushed. {', '.join(changed[:3])} of {folder} changed. Push it again."
        )


def _read(store: Store) -> _Pointer | None:
    found = store.read(POINTER)
    if found is None:
        return None
    try:
        fields = json.loads(found[0])
        known = isinstance(fields, dict) and fields.get("format") == FORMAT
        if known:
            files, before = dict(fields["files"]), dict(fields["previous"])
            objects = {digest: digest for digest in (*files.values(), *before.get("files", {}).values())}
            objects |= fields.get("objects", {})  # before there were any, an object was named by its hash
            return _Pointer(int(fields["number"]), files, before, objects, str(fields["writer"]), found[1])
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"`{POINTER}` must be a pointer of format {FORMAT}. The one at {store.uri} is not: another program wrote it. "
        "Name another address."
    )


def _require_previous(store: Store, previous: Version | None) -> _Pointer | None:
    """The pointer, which must be that of `previous`: so nothing is moved for a push that cannot end well."""
    pointer = _read(store)
    if (pointer.token if pointer else None) != (previous.token if previous else None):
        raise ConflictError(
            f"The newest version at {store.uri} must be as it was last read, {_told(previous)}. "
            f"Found {_told(pointer)} of another writer. Stop one of the two, then fetch it and start from it."
        )
    return pointer


def _told(version: Version | _Pointer | None) -> str:
    return f"version {version.number}" if version else "none"


def _swap(store: Store, pointer: _Pointer, token: str | None) -> str:
    fields = {
        "format": FORMAT,
        "number": pointer.number,
        "writer": pointer.writer,
        "write": uuid.uuid4().hex,  # so that no two texts are alike
        "files": pointer.files,
        "objects": pointer.objects,
        "previous": pointer.before,
    }
    return store.swap(POINTER, (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode(), token)


def _fetch_whole(store: Store, pointer: _Pointer, folder: Path) -> tuple[Version | None, list[str]]:
    """The first version that arrives whole, and what was wrong with those before it."""
    found = {file.name.removeprefix(OBJECTS): file for file in store.files(OBJECTS)}
    there = {digest: found[name] for digest, name in pointer.objects.items() if name in found}
    damage: list[str] = []
    for version in pointer.versions:
        try:
            _fetch_version(store, version, there, folder)
            return version, damage
        except (DamageError, FileNotFoundError) as error:
            damage.append(str(error))
    return None, damage


def _fetch_version(store: Store, version: Version, there: Mapping[str, StoredFile], folder: Path) -> None:
    places = {name: inside(folder, name, store.uri) for name in version.files}
    wanted = {
        name: digest
        for name, digest in version.files.items()
        if not places[name].is_file() or file_hash(places[name]) != digest
    }
    lost = sorted(name for name, digest in wanted.items() if digest not in there)
    if lost:
        raise DamageError(f"{', '.join(lost[:3])} is not there any more")
    size = sum(there[digest].size for digest in wanted.values())
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(f"{PARTIAL}*/"):  # by a fetch that was killed
        shutil.rmtree(left_over)
    with room_for(folder, size), TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
        arrived = {name: Path(partial) / str(number) for number, name in enumerate(wanted)}
        in_parallel(
            "Fetch files",
            lambda name: download_checked(store, there[wanted[name]], arrived[name], wanted[name]),
            list(wanted),
            store.workers,
        )
        for name, path in arrived.items():
            places[name].parent.mkdir(parents=True, exist_ok=True)
            path.replace(places[name])


def download_checked(store: Store, file: StoredFile, target: Path, digest: str = "") -> None:
    """Fetch a file; again, a few times, where other bytes arrive than were stored.

    Args:
        store: Where it lies.
        file: As it was listed.
        target: Where to.
        digest: SHA-256 that it must have; empty where none is known.

    Raises:
        DamageError: Other bytes arrive each time.
        FileNotFoundError: It is gone.
    """
    for attempt in range(1, store.patience.attempts + 1):
        try:
            store.download(file, target, checked=not digest)
            if target.stat().st_size != file.size or (digest and file_hash(target) != digest):
                raise DamageError(f"{file.name} of {store.uri} has other bytes than were pushed")
            return
        except DamageError:
            if attempt == store.patience.attempts:
                raise


def _remove_old(
    store: Store, token: str, there: Mapping[str, StoredFile], *, keep: set[str], pointer: _Pointer | None
) -> None:
    """Remove what lay there before the swap and belongs to neither kept version, if the pointer is still ours."""
    dropped = set(pointer.objects.values()) if pointer else set()
    newest = max((file.modified for file in there.values()), default=0.0)  # the provider's clock, not ours
    old = [
        file
        for name, file in there.items()
        if name not in keep and (name in dropped or newest - file.modified > _ORPHAN_SECONDS)
    ]
    try:
        now = store.read(POINTER) if old else None
        if now is not None and now[1] == token:
            in_parallel("Remove old files", store.delete, old, store.workers)
    except OSError as error:  # the version is pushed; what is left over goes with a later push
        _LOG.warning("%s: files of an older version were not removed: %s", store.uri, error)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
