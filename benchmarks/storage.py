"""Folders moved by `regan.storage` against the client libraries' own means, on servers of this machine.

    python -m benchmarks.storage --provider gs --small 1000 --large 10 --large-mib 32

Each is run `--repeats` times in turn, and the median counts. For gs:// the rival is `transfer_manager` with threads,
for s3:// boto3's `upload_file` and `download_file` in a pool of as many threads. Both sides get as many threads; ours
also hashes each file before it goes and after it comes, and writes a manifest.
"""

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from regan import storage
from regan.storage.provider import ObjectStore
from tests.servers.start import free_port, use_gs, use_s3

SMALL_BYTES = 4_000


def main() -> None:
    """Run what the command line asks for, and print the table."""
    options = _options()
    logging.getLogger("regan").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder, _Server(options.provider) as url:
        use = {"gs": use_gs, "s3": use_s3}[options.provider]
        rival: Any = {"gs": _Transfer, "s3": _Boto}[options.provider]
        sets = {"small": (options.small, SMALL_BYTES), "large": (options.large, options.large_mib * 2**20)}
        _say(f"{os.cpu_count()} cores, {options.provider}://, median of {options.repeats}")
        _say(f"{'files':>14}  {'way':>5}  {'ours':>9}  {'theirs':>9}  ours / theirs")
        for kind, (count, size) in sets.items():
            if not count:
                continue
            source = _write_files(Path(folder) / kind, count, size)
            seconds = _measure(source, lambda: use(url, os.environ.__setitem__), rival, options.repeats)
            for way, (ours, theirs) in seconds.items():
                _say(f"{count:>8} {kind}  {way:>5}  {ours:7.2f} s  {theirs:7.2f} s  {ours / theirs:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--provider", choices=["gs", "s3"], default="gs")
    parser.add_argument("--small", type=int, default=10_000, help=f"number of files of {SMALL_BYTES} bytes")
    parser.add_argument("--large", type=int, default=10, help="number of large files")
    parser.add_argument("--large-mib", type=int, default=32, help="size of a large file, MiB")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _write_files(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.bin").write_bytes(os.urandom(size))
    return folder


def _measure(source: Path, new_bucket: Callable[[], str], rival: Any, repeats: int) -> dict[str, list[float]]:
    """Median seconds of both sides, ours first, to push and to fetch."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for repeat in range(repeats):
        for side in (0, 1) if repeat % 2 == 0 else (1, 0):  # who goes first meets a cold disk cache
            mover = (_Ours, rival)[side](new_bucket(), source)
            with TemporaryDirectory() as folder:
                for way, act in (("push", mover.push), ("fetch", partial(mover.fetch, Path(folder)))):
                    seconds.setdefault((way, side), []).append(_seconds_of(act))
                if len(os.listdir(folder)) != len(os.listdir(source)):
                    raise RuntimeError(f"All files must arrive. {mover} lost some of {len(os.listdir(source))}.")
    return {way: [statistics.median(seconds[way, side]) for side in (0, 1)] for way in ("push", "fetch")}


def _seconds_of(act: Callable[[], Any]) -> float:
    before = time.perf_counter()
    act()
    return time.perf_counter() - before


class _Ours:
    def __init__(self, address: str, source: Path) -> None:
        self.address, self.source = address, source

    def push(self) -> None:
        storage.push(self.source, self.address)

    def fetch(self, target: Path) -> None:
        storage.fetch(self.address, target)


class _Transfer:
    """Google's transfer manager, with threads."""

    def __init__(self, address: str, source: Path) -> None:
        from google.cloud.storage import Client

        self.bucket = Client().bucket(address.removeprefix("gs://"))
        self.source, self.names = source, [path.name for path in source.iterdir()]

    def push(self) -> None:
        from google.cloud.storage import transfer_manager

        options: dict[str, Any] = {"worker_type": transfer_manager.THREAD, "max_workers": ObjectStore.workers}
        transfer_manager.upload_many_from_filenames(
            self.bucket, self.names, source_directory=str(self.source), raise_exception=True, **options
        )

    def fetch(self, target: Path) -> None:
        from google.cloud.storage import transfer_manager

        options: dict[str, Any] = {"worker_type": transfer_manager.THREAD, "max_workers": ObjectStore.workers}
        names = [blob.name for blob in self.bucket.list_blobs()]
        transfer_manager.download_many_to_path(
            self.bucket, names, destination_directory=str(target), raise_exception=True, **options
        )


class _Boto:
    """Boto3's calls for one file each, in a pool of threads."""

    def __init__(self, address: str, source: Path) -> None:
        import boto3
        from botocore.config import Config

        self.client = boto3.client("s3", config=Config(max_pool_connections=2 * ObjectStore.workers))
        self.bucket = address.removeprefix("s3://")
        self.source, self.names = source, [path.name for path in source.iterdir()]

    def push(self) -> None:
        with ThreadPoolExecutor(ObjectStore.workers) as pool:
            list(pool.map(lambda n: self.client.upload_file(str(self.source / n), self.bucket, n), self.names))

    def fetch(self, target: Path) -> None:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        names = [entry["Key"] for page in pages for entry in page["Contents"]]
        with ThreadPoolExecutor(ObjectStore.workers) as pool:
            list(pool.map(lambda n: self.client.download_file(self.bucket, n, str(target / n)), names))


class _Server:
    """A server in a process of its own, so that it does not hold the lock of the interpreter that is measured."""

    def __init__(self, provider: str) -> None:
        self.port = free_port()
        self.process = get_context("spawn").Process(target=_serve, args=(provider, self.port), daemon=True)

    def __enter__(self) -> str:
        import socket

        self.process.start()
        for _ in range(600):
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", self.port)) == 0:
                    return f"http://127.0.0.1:{self.port}"
            time.sleep(0.1)
        raise TimeoutError("The server must start within a minute. It did not.")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()


def _serve(provider: str, port: int) -> None:
    if provider == "gs":
        from http.server import HTTPServer

        from gcp_storage_emulator.server import create_server

        HTTPServer.request_queue_size = 128  # with its 5, many connections at once wait for a second, by chance
        create_server("127.0.0.1", port, in_memory=True).run()
    else:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        ThreadedMotoServer(ip_address="127.0.0.1", port=port).start()
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
