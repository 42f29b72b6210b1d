"""Storage with the S3 protocol (AWS, SeaweedFS, MinIO, Ceph), through boto3; AWS_ENDPOINT_URL_S3 selects the server."""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from regan.common.errors import CorruptFileError
from regan.storage import provider
from regan.storage.provider import ObjectStore, RetryPolicy, StoredFile, provider_library, warn_once

_T = TypeVar("_T")
# Error codes: servers with the S3 protocol use several for the same error.
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_REFUSED = {
    "401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized",
}  # fmt: skip
_TRANSIENT = {
    "ConditionalRequestConflict", "InternalError", "OperationAborted", "RequestTimeout", "RequestTimeoutException",
    "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
}  # fmt: skip
_UNSUPPORTED = {
    "501", "InvalidArgument", "InvalidRequest", "NotImplemented", "XAmzContentSHA256Mismatch", "XNotImplemented",
}  # fmt: skip
_LARGE = 16 * 2**20  # bytes from which one file is transferred in parallel parts
_MD5_DIGITS = 32  # an ETag is an MD5, or the MD5 of the MD5s of all parts, a dash and the number of parts


class S3Store(ObjectStore):
    """Files below a prefix of a bucket."""

    _plain: ClassVar[set[str]] = set()  # endpoints that refuse the checksums that boto adds
    _conditional: ClassVar[dict[tuple[str, str], bool]] = {}  # (endpoint, bucket) -> whether it has conditional writes

    def __init__(
        self, uri: str, prefix: str, retry: RetryPolicy | None = None, *, bucket: str, handle: Any = None
    ) -> None:
        super().__init__(uri, prefix, retry)
        self._bucket = bucket
        boto3 = provider_library("boto3", uri)
        from boto3.s3.transfer import TransferConfig

        self._transfer = TransferConfig(
            multipart_threshold=_LARGE, multipart_chunksize=_LARGE, num_download_attempts=10
        )
        with self._translate_errors():
            self._client = handle or self._connect(boto3)
            if str(self._client.meta.endpoint_url) in self._plain:
                self._client = self._connect(boto3, plain=True)

    def _connect(self, boto3: Any, *, plain: bool = False) -> Any:
        from botocore.config import Config

        settings = Config(
            max_pool_connections=2 * self.workers,
            # `_retry_delay` replaces boto's own retries, which count attempts and not seconds.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=min(10.0, self.retry.answer),
            read_timeout=self.retry.answer,
            tcp_keepalive=True,
            **({"request_checksum_calculation": "when_required"} if plain else {}),
        )
        from botocore.session import Session

        session = Session()
        session.register_component("data_loader", _service_loader())
        client = boto3.session.Session(botocore_session=session).client("s3", config=settings)
        client.meta.events.register_first("needs-retry.s3", self._retry_delay)
        return client

    def _connection(self) -> dict[str, object]:
        return {"bucket": self._bucket, "handle": self._client}

    def _retry_delay(
        self, attempts: int, response: Any, caught_exception: Any, request_dict: Any, **_: Any
    ) -> float | None:
        """Seconds until the next attempt of a request, None to give up. Called by boto after each attempt."""
        started = request_dict["context"].setdefault("regan_started", time.monotonic())
        if not _transient(response, caught_exception):
            return None
        delay = self.retry.delay(attempts)
        return delay if time.monotonic() + delay - started < self.retry.seconds else None

    def _list(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._translate_errors():
            for page in pages.paginate(Bucket=self._bucket, Prefix=start, PaginationConfig={"MaxItems": limit}):
                for entry in page.get("Contents", []):
                    modified = entry["LastModified"].timestamp()
                    yield StoredFile(entry["Key"], entry["Size"], entry["ETag"].strip('"'), modified)

    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """Implements `ObjectStore.download`; boto checks its checksums, and this method the ETag if it is an MD5."""
        with self._translate_errors(file.name):
            if file.size < _LARGE:
                target.write_bytes(self._content(file.name)[0])
            else:
                self._client.download_file(self._bucket, self._key(file.name), str(target), Config=self._transfer)
            if not checked or self._matches_etag(file, target):
                return
        raise CorruptFileError(
            f"{file.name} at {self.uri} is corrupt: its checksum differs from the ETag {file.version}."
        )

    def _content(self, name: str) -> tuple[bytes, str]:
        """Bytes of a small file and its ETag."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        for attempt in range(1, self.retry.attempts + 1):
            response = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            try:
                return response["Body"].read(), response["ETag"].strip('"')
            except (HTTPClientError, IncompleteReadError) as error:
                # The connection broke within the body, which boto does not retry: for boto the request is over.
                broken = error
                time.sleep(self.retry.delay(attempt))
        raise broken

    def _matches_etag(self, file: StoredFile, target: Path) -> bool:
        """Whether a file's bytes match its ETag; True if the ETag is not made of MD5s."""
        digest, _, num_parts = file.version.partition("-")
        if len(digest) != _MD5_DIGITS or _md5(target) == file.version:
            return True
        head = self._client.head_object(Bucket=self._bucket, Key=self._key(file.name), **_part(num_parts))
        # Encrypted with a key of the customer or of KMS: the ETag does not depend on the plain content.
        if "kms" in head.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in head:
            return True
        if not num_parts:
            return False
        size = head["ContentLength"]  # of the first part; all parts but the last have the same size
        return -(-file.size // size) != int(num_parts) or _md5_of_parts(target, size) == file.version

    def upload(self, source: Path, name: str) -> None:
        """Implements `ObjectStore.upload`; boto adds a CRC32. If the server refuses that, a warning says so, once."""
        with self._translate_errors(name):
            self._with_checksums(lambda: self._send(source, name))

    def _with_checksums(self, write: Callable[[], _T]) -> _T:
        try:
            return write()
        except Exception as error:
            endpoint = str(self._client.meta.endpoint_url)
            if endpoint in self._plain or _code(_client_error(error)) not in _UNSUPPORTED:
                raise
            warn_once(f"{endpoint} refuses uploads with checksums ({error}). Uploading without checksums.")
            self._plain.add(endpoint)
            self._client = self._connect(provider_library("boto3", self.uri), plain=True)
        return write()

    def _send(self, source: Path, name: str) -> None:
        if source.stat().st_size >= _LARGE:
            self._client.upload_file(str(source), self._bucket, self._key(name), Config=self._transfer)
            return
        with source.open("rb") as body:
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=body)

    def delete(self, file: StoredFile) -> None:
        """Implements `ObjectStore.delete`, but S3 has no conditional delete: a name must not be used again."""
        with self._translate_errors():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(file.name))

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Implements `ObjectStore.read`; the token is the ETag."""
        from botocore.exceptions import ClientError

        with self._translate_errors(name):
            try:
                return self._content(name)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def compare_and_swap(self, name: str, data: bytes, token: str | None) -> str:
        """Implements `ObjectStore.compare_and_swap` by If-Match and If-None-Match, or with a warning without them."""
        server = (str(self._client.meta.endpoint_url), self._bucket)
        if server not in self._conditional:
            self._conditional[server] = _is_aws(server[0]) or self._has_conditional_writes()
        if not self._conditional[server]:
            warn_once(
                f"{self.uri}: this server ignores If-Match and If-None-Match. Two writers at the same URI are detected "
                "only by reading before and after each write; let one writer at a time use it."
            )
            return self._swap_without_conditions(name, data, token)
        condition = {"IfMatch": f'"{token}"'} if token else {"IfNoneMatch": "*"}
        with self._translate_errors(name):
            response = self._put_if(name, data, condition)
        return response or self._token_after_lost_response(name, data)

    def _put_if(self, name: str, data: bytes, condition: dict[str, str]) -> str | None:
        """ETag of what was written; None if the condition did not hold."""
        from botocore.exceptions import ClientError

        key = self._key(name)
        try:
            response = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType="application/json", **condition
            )
        except ClientError as error:
            if _status(error) == 412 or _code(error) in _ABSENT:
                return None
            raise
        return response["ETag"].strip('"')

    def _token_after_lost_response(self, name: str, data: bytes) -> str:
        # The response to a write that succeeded may be lost; the retry then fails on our own write.
        found = self.read(name)
        if found is None or found[0] != data:
            raise self._conflict(name)
        return found[1]

    def _swap_without_conditions(self, name: str, data: bytes, token: str | None) -> str:
        found = self.read(name)
        if (found[1] if found else None) != token:
            raise self._conflict(name)
        with self._translate_errors(name):
            self._with_checksums(lambda: self._put_if(name, data, {}))
        # Of two writers at the same time the later one wins; the pause lets the earlier one find that out.
        time.sleep(self.retry.delay(1))
        return self._token_after_lost_response(name, data)

    def _has_conditional_writes(self) -> bool:
        """Whether conditional writes fail as they must, tested on a temporary file."""
        from botocore.exceptions import ClientError

        name = f".regan-probe-{time.time_ns():x}"
        with self._translate_errors(name):
            try:
                self._with_checksums(lambda: self._put_if(name, b"1", {}))
                forbidden = ({"IfNoneMatch": "*"}, {"IfMatch": '"00000000000000000000000000000000"'})
                return all(self._put_if(name, b"2", condition) is None for condition in forbidden)
            except ClientError as error:
                if _code(error) in _UNSUPPORTED or _status(error) == 501:
                    return False
                raise
            finally:
                with suppress(ClientError):  # without permission to delete, versions can still be written
                    self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    @contextmanager
    def _translate_errors(self, name: str = "") -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            CredentialRetrievalError,
            FlexibleChecksumError,
            NoCredentialsError,
            PartialCredentialsError,
            TokenRetrievalError,
        )

        try:
            yield
        except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError) as error:
            hint = "Run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            raise provider.no_credentials(self.uri, error, hint) from error
        except FlexibleChecksumError as error:
            raise CorruptFileError(
                f"{name} at {self.uri} is corrupt: its checksum differs after the download: {error}"
            ) from error
        except (ClientError, Boto3Error, BotoCoreError) as error:
            code = _code(_client_error(error))
            if code in _ABSENT or code == "NoSuchBucket":
                raise provider.no_bucket(self.uri, error) from error
            if code in _REFUSED:
                raise provider.no_permission(self.uri, error) from error
            raise provider.unavailable(self.uri, error) from error


@functools.cache
def _service_loader() -> Any:
    """Boto's descriptions of the services, loaded once; each session would parse some megabytes of JSON again."""
    from botocore.loaders import create_loader

    return create_loader()


def _is_aws(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _client_error(error: BaseException) -> Any:
    """The error that carries the server's response; boto raises its own errors while it handles that one."""
    return error if hasattr(error, "response") else error.__context__


def _code(error: Any) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", "")) if error else ""


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _transient(response: Any, error: Any) -> bool:
    from botocore.exceptions import HTTPClientError, ProxyConnectionError, SSLError

    if error is not None:
        return isinstance(error, HTTPClientError) and not isinstance(error, ProxyConnectionError | SSLError)
    http, parsed = response
    code = str(parsed.get("Error", {}).get("Code", ""))
    return http.status_code in (408, 429, 500, 502, 503, 504) or code in _TRANSIENT


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _part(num_parts: str) -> dict[str, int]:
    return {"PartNumber": 1} if num_parts else {}


def _md5_of_parts(path: Path, size: int) -> str:
    whole, number = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while part := file.read(size):
            whole.update(hashlib.md5(part, usedforsecurity=False).digest())
            number += 1
    return f"{whole.hexdigest()}-{number}"
