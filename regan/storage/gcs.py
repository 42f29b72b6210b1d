"""Google Cloud Storage, through google-cloud-storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regan.storage import provider
from regan.storage.provider import DamageError, Patience, Store, StoredFile, provider_library

_LARGE = 64 * 2**20  # bytes from which one file is fetched in parallel parts
_PART = 16 * 2**20
_STREAMS = 4  # at a time and a file


class GoogleStore(Store):
    """Files below a prefix of a bucket. Checksums (CRC32C) go with every upload and are checked at every download."""

    def __init__(
        self, uri: str, prefix: str, patience: Patience | None = None, *, bucket: str, handle: Any = None
    ) -> None:
        super().__init__(uri, prefix, patience)
        storage = provider_library("google.cloud.storage", uri)
        from google.cloud.storage.retry import DEFAULT_RETRY

        waits = self.patience
        self._retry = DEFAULT_RETRY.with_delay(waits.first, waits.longest, 2.0).with_timeout(waits.seconds)
        # Connecting may take no longer than a reply.
        self._calm: dict[str, Any] = {"retry": self._retry, "timeout": (min(10.0, waits.answer), waits.answer)}
        self._name = bucket
        with self._explained():
            self._bucket = handle or self._connected(storage.Client(), bucket)

    def _connected(self, client: Any, bucket: str) -> Any:
        from requests.adapters import HTTPAdapter

        # The session's own pool keeps 10 connections, and each thread beyond would shake hands anew for every file.
        for scheme in ("https://", "http://"):
            client._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=2 * self.workers))
        return client.bucket(bucket)

    def _shared(self) -> dict[str, object]:
        return {"bucket": self._name, "handle": self._bucket}

    def _listed(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        with self._explained():
            for blob in self._bucket.list_blobs(prefix=start, max_results=limit, **self._calm):
                modified = blob.updated.timestamp() if blob.updated else 0.0
                yield StoredFile(blob.name, blob.size, str(blob.generation), modified)

    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """See `Store.download`; the CRC32C costs so little that it is always compared."""
        with self._explained(file.name):
            blob = self._bucket.blob(self._key(file.name))
            if file.size < _LARGE:
                blob.download_to_filename(str(target), **self._calm)
            else:
                self._download_parts(blob, target)

    def _download_parts(self, blob: Any, target: Path) -> None:
        from google.cloud.storage import transfer_manager

        transfer_manager.download_chunks_concurrently(
            blob,
            str(target),
            chunk_size=_PART,
            worker_type=transfer_manager.THREAD,
            max_workers=_STREAMS,
            download_kwargs=dict(self._calm),
        )

    def upload(self, source: Path, name: str) -> None:
        """See `Store.upload`; the same bytes again do no harm, so each failure may be tried again."""
        with self._explained(name):
            self._bucket.blob(self._key(name)).upload_from_filename(str(source), **self._calm)

    def delete(self, file: StoredFile) -> None:
        """See `Store.delete`."""
        from google.api_core import exceptions as api

        with self._explained():
            try:
                self._bucket.blob(self._key(file.name)).delete(if_generation_match=int(file.version), **self._calm)
            except (api.NotFound, api.PreconditionFailed):
                return

    def read(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read`; the mark is the generation."""
        from google.api_core import exceptions as api

        with self._explained(name):
            while True:
                blob = self._bucket.get_blob(self._key(name), **self._calm)
                if blob is None:
                    self._require_bucket()
                    return None
                pinned = self._bucket.blob(blob.name, generation=blob.generation)
                try:
                    return pinned.download_as_bytes(**self._calm), str(blob.generation)
                except api.NotFound:  # replaced between the two requests
                    continue

    def _require_bucket(self) -> None:
        for _ in self._bucket.list_blobs(max_results=1, **self._calm):
            return

    def swap(self, name: str, data: bytes, token: str | None) -> str:
        """See `Store.swap`; by `ifGenerationMatch`, which is 0 for a file that must not be there."""
        from google.api_core import exceptions as api

        blob = self._bucket.blob(self._key(name))
        with self._explained(name):
            try:
                blob.upload_from_string(
                    data, content_type="application/json", if_generation_match=int(token or 0), **self._calm
                )
            except api.PreconditionFailed:
                return self._lost_reply(name, data)
        return str(blob.generation)

    def _lost_reply(self, name: str, data: bytes) -> str:
        # The reply to a write that succeeded may be lost; its repetition then fails on our own write.
        found = self.read(name)
        if found is None or found[0] != data:
            raise self._conflict(name)
        return found[1]

    @contextmanager
    def _explained(self, name: str = "") -> Iterator[None]:
        from google.api_core import exceptions as api
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
        from google.cloud.storage.exceptions import DataCorruption
        from requests.exceptions import RequestException

        try:
            yield
        except (DefaultCredentialsError, RefreshError, api.Unauthorized) as error:
            hint = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."
            raise PermissionError(provider.told(provider.CREDENTIALS, self.uri, error, hint=hint)) from error
        except api.Forbidden as error:
            raise PermissionError(provider.told(provider.PERMISSION, self.uri, error)) from error
        except api.NotFound as error:
            raise FileNotFoundError(provider.told(provider.BUCKET, self.uri, error)) from error
        except DataCorruption as error:
            raise DamageError(f"{name} of {self.uri} arrived with another checksum: {error}") from error
        except (api.GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise ConnectionError(provider.told(provider.ANSWER, self.uri, error)) from error
