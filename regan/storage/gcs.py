"""Google Cloud Storage, through google-cloud-storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regan.common.errors import CorruptFileError
from regan.storage import provider
from regan.storage.provider import ObjectStore, RetryPolicy, StoredFile, provider_library

_LARGE = 64 * 2**20  # bytes from which one file is downloaded in parallel parts
_PART = 16 * 2**20
_STREAMS = 4  # parallel parts of one file


class GCSStore(ObjectStore):
    """Files below a prefix of a bucket. A CRC32C is sent with every upload and checked at every download."""

    def __init__(
        self, uri: str, prefix: str, retry: RetryPolicy | None = None, *, bucket: str, handle: Any = None
    ) -> None:
        super().__init__(uri, prefix, retry)
        storage = provider_library("google.cloud.storage", uri)
        from google.cloud.storage.retry import DEFAULT_RETRY

        policy = self.retry
        retry_request = DEFAULT_RETRY.with_delay(policy.first, policy.longest, 2.0).with_timeout(policy.seconds)
        # Timeouts to connect and to read; connecting must not take longer than a response may.
        timeout = (min(10.0, policy.answer), policy.answer)
        self._options: dict[str, Any] = {"retry": retry_request, "timeout": timeout}
        self._name = bucket
        with self._translate_errors():
            self._bucket = handle or self._connect(storage.Client(), bucket)

    def _connect(self, client: Any, bucket: str) -> Any:
        from requests.adapters import HTTPAdapter

        # The session's own pool keeps 10 connections; each further thread would open a TLS connection for every file.
        for scheme in ("https://", "http://"):
            client._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=2 * self.workers))
        return client.bucket(bucket)

    def _connection(self) -> dict[str, object]:
        return {"bucket": self._name, "handle": self._bucket}

    def _list(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        with self._translate_errors():
            for blob in self._bucket.list_blobs(prefix=start, max_results=limit, **self._options):
                modified = blob.updated.timestamp() if blob.updated else 0.0
                yield StoredFile(blob.name, blob.size, str(blob.generation), modified)

    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """Implements `ObjectStore.download`; the CRC32C is so cheap that it is always compared."""
        with self._translate_errors(file.name):
            blob = self._bucket.blob(self._key(file.name))
            if file.size < _LARGE:
                blob.download_to_filename(str(target), **self._options)
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
            download_kwargs=dict(self._options),
        )

    def upload(self, source: Path, name: str) -> None:
        """Implements `ObjectStore.upload`; writing the same bytes again does no harm, so every failure is retried."""
        with self._translate_errors(name):
            self._bucket.blob(self._key(name)).upload_from_filename(str(source), **self._options)

    def delete(self, file: StoredFile) -> None:
        """Implements `ObjectStore.delete`."""
        from google.api_core import exceptions as api

        with self._translate_errors():
            try:
                self._bucket.blob(self._key(file.name)).delete(if_generation_match=int(file.version), **self._options)
            except (api.NotFound, api.PreconditionFailed):
                return

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Implements `ObjectStore.read`; the token is the generation."""
        from google.api_core import exceptions as api

        with self._translate_errors(name):
            while True:
                blob = self._bucket.get_blob(self._key(name), **self._options)
                if blob is None:
                    self._require_bucket()  # a missing file and a missing bucket give the same response
                    return None
                # Pinned to the generation, so that bytes and token belong together.
                pinned = self._bucket.blob(blob.name, generation=blob.generation)
                try:
                    return pinned.download_as_bytes(**self._options), str(blob.generation)
                except api.NotFound:  # replaced between the two requests
                    continue

    def _require_bucket(self) -> None:
        for _ in self._bucket.list_blobs(max_results=1, **self._options):
            return

    def compare_and_swap(self, name: str, data: bytes, token: str | None) -> str:
        """Implements `ObjectStore.compare_and_swap` by `ifGenerationMatch`; 0 means that the file must not exist."""
        from google.api_core import exceptions as api

        blob = self._bucket.blob(self._key(name))
        with self._translate_errors(name):
            try:
                blob.upload_from_string(
                    data, content_type="application/json", if_generation_match=int(token or 0), **self._options
                )
            except api.PreconditionFailed:
                return self._token_after_lost_response(name, data)
        return str(blob.generation)

    def _token_after_lost_response(self, name: str, data: bytes) -> str:
        # The response to a write that succeeded may be lost; the retry then fails on our own write.
        found = self.read(name)
        if found is None or found[0] != data:
            raise self._conflict(name)
        return found[1]

    @contextmanager
    def _translate_errors(self, name: str = "") -> Iterator[None]:
        from google.api_core import exceptions as api
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
        from google.cloud.storage.exceptions import DataCorruption
        from requests.exceptions import RequestException

        try:
            yield
        except (DefaultCredentialsError, RefreshError, api.Unauthorized) as error:
            hint = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS."
            raise provider.no_credentials(self.uri, error, hint) from error
        except api.Forbidden as error:
            raise provider.no_permission(self.uri, error) from error
        except api.NotFound as error:
            raise provider.no_bucket(self.uri, error) from error
        except DataCorruption as error:
            raise CorruptFileError(
                f"{name} at {self.uri} is corrupt: its checksum differs after the download: {error}"
            ) from error
        except (api.GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise provider.unavailable(self.uri, error) from error
