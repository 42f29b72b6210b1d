"""Storage that speaks S3 (AWS, SeaweedFS, MinIO, Ceph), through boto3; AWS_ENDPOINT_URL_S3 names another server."""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from regan.storage import provider
from regan.storage.provider import DamageError, Patience, Store, StoredFile, provider_library, warn_once

_T = TypeVar("_T")
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
_LARGE = 16 * 2**20  # bytes from which one file is moved in parallel parts
_MD5_DIGITS = 32  # an ETag is one MD5, or that of the MD5s of the parts with a dash and their number


class AmazonStore(Store):
    """Files below a prefix of a bucket."""

    _plain: ClassVar[set[str]] = set()  # endpoints that refuse the checksums that boto sends along
    _honoured: ClassVar[dict[tuple[str, str], bool]] = {}  # (endpoint, bucket) -> whether it knows conditional writes

    def __init__(
        self, uri: str, prefix: str, patience: Patience | None = None, *, bucket: str, handle: Any = None
    ) -> None:
        super().__init__(uri, prefix, patience)
        self._bucket = bucket
        boto3 = provider_library("boto3", uri)
        from boto3.s3.transfer import TransferConfig

        self._transfer = TransferConfig(
            multipart_threshold=_LARGE, multipart_chunksize=_LARGE, num_download_attempts=10
        )
        with self._explained():
            self._client = handle or self._connected(boto3)
            if str(self._client.meta.endpoint_url) in self._plain:
                self._client = self._connected(boto3, plain=True)

    def _connected(self, boto3: Any, *, plain: bool = False) -> Any:
        from botocore.config import Config

        settings = Config(
            max_pool_connections=2 * self.workers,
            retries={"total_max_attempts": 1, "mode": "standard"},  # our own tries stand in for these
            connect_timeout=min(10.0, self.patience.answer),
            read_timeout=self.patience.answer,
            tcp_keepalive=True,
            **({"request_checksum_calculation": "when_required"} if plain else {}),
        )
        from botocore.session import Session

        session = Session()
        session.register_component("data_loader", _descriptions())
        client = boto3.session.Session(botocore_session=session).client("s3", config=settings)
        client.meta.events.register_first("needs-retry.s3", self._wait)
        return client

    def _shared(self) -> dict[str, object]:
        return {"bucket": self._bucket, "handle": self._client}

    def _wait(self, attempts: int, response: Any, caught_exception: Any, request_dict: Any, **_: Any) -> float | None:
        """Seconds until the next attempt of a request, None where there must be none. Called by boto after each."""
        began = request_dict["context"].setdefault("regan_began", time.monotonic())
        if not _transient(response, caught_exception):
            return None
        delay = self.patience.delay(attempts)
        return delay if time.monotonic() + delay - began < self.patience.seconds else None

    def _listed(self, start: str, limit: int | None = None) -> Iterator[StoredFile]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._explained():
            for page in pages.paginate(Bucket=self._bucket, Prefix=start, PaginationConfig={"MaxItems": limit}):
                for entry in page.get("Contents", []):
                    modified = entry["LastModified"].timestamp()
                    yield StoredFile(entry["Key"], entry["Size"], entry["ETag"].strip('"'), modified)

    def download(self, file: StoredFile, target: Path, *, checked: bool = True) -> None:
        """See `Store.download`; by the checksums that boto knows, and by the ETag where it is an MD5."""
        with self._explained(file.name):
            if file.size < _LARGE:
                target.write_bytes(self._content(file.name)[0])
            else:
                self._client.download_file(self._bucket, self._key(file.name), str(target), Config=self._transfer)
            if not checked or self._is_whole(file, target):
                return
        raise DamageError(f"{file.name} of {self.uri} arrived with another checksum than its ETag {file.version}.")

    def _content(self, name: str) -> tuple[bytes, str]:
        """Bytes of a small file and its ETag."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        for attempt in range(1, self.patience.attempts + 1):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            try:
                return answer["Body"].read(), answer["ETag"].strip('"')
            except (HTTPClientError, IncompleteReadError) as error:  # the line broke within the body
                broken = error
                time.sleep(self.patience.delay(attempt))
        raise broken

    def _is_whole(self, file: StoredFile, target: Path) -> bool:
        """Whether a file's bytes fit its ETag, as far as that is made of MD5s."""
        digest, _, num_parts = file.version.partition("-")
        if len(digest) != _MD5_DIGITS or _md5(target) == file.version:
            return True
        head = self._client.head_object(Bucket=self._bucket, Key=self._key(file.name), **_part(num_parts))
        # Encrypted by a key of the customer or of KMS: the ETag says nothing about the content.
        if "kms" in head.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in head:
            return True
        if not num_parts:
            return False
        size = head["ContentLength"]  # of the first part; all but the last are as long
        return -(-file.size // size) != int(num_parts) or _md5_of_parts(target, size) == file.version

    def upload(self, source: Path, name: str) -> None:
        """See `Store.upload`; boto adds a CRC32, which some servers refuse: then it says so and goes without."""
        with self._explained(name):
            self._with_checksums(lambda: self._send(source, name))

    def _with_checksums(self, write: Callable[[], _T]) -> _T:
        try:
            return write()
        except Exception as error:
            endpoint = str(self._client.meta.endpoint_url)
            if endpoint in self._plain or _code(_answer(error)) not in _UNSUPPORTED:
                raise
            warn_once(f"{endpoint} refuses uploads with checksums ({error}). Files are sent without.")
            self._plain.add(endpoint)
            self._client = self._connected(provider_library("boto3", self.uri), plain=True)
        return write()

    def _send(self, source: Path, name: str) -> None:
        if source.stat().st_size >= _LARGE:
            self._client.upload_file(str(source), self._bucket, self._key(name), Config=self._transfer)
            return
        with source.open("rb") as body:
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=body)

    def delete(self, file: StoredFile) -> None:
        """See `Store.delete`; but no condition tells a file that was written anew: use its name for nothing else."""
        with self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(file.name))

    def read(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read`; the mark is the ETag."""
        from botocore.exceptions import ClientError

        with self._explained(name):
            try:
                return self._content(name)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def swap(self, name: str, data: bytes, token: str | None) -> str:
        """See `Store.swap`; by If-Match and If-None-Match where the server honours them, and it says where not."""
        server = (str(self._client.meta.endpoint_url), self._bucket)
        if server not in self._honoured:
            self._honoured[server] = _is_aws(server[0]) or self._honours_conditions()
        if not self._honoured[server]:
            warn_once(
                f"{self.uri}: this server ignores If-Match and If-None-Match. Two writers at the same address are told "
                "apart by reading before and after each write only; let one writer at a time use it."
            )
            return self._careful_swap(name, data, token)
        condition = {"IfMatch": f'"{token}"'} if token else {"IfNoneMatch": "*"}
        with self._explained(name):
            answer = self._put_if(name, data, condition)
        return answer or self._lost_reply(name, data)

    def _put_if(self, name: str, data: bytes, condition: dict[str, str]) -> str | None:
        """ETag of what was written; None where the condition did not hold."""
        from botocore.exceptions import ClientError

        key = self._key(name)
        try:
            answer = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType="application/json", **condition
            )
        except ClientError as error:
            if _status(error) == 412 or _code(error) in _ABSENT:
                return None
            raise
        return answer["ETag"].strip('"')

    def _lost_reply(self, name: str, data: bytes) -> str:
        # The reply to a write that succeeded may be lost; its repetition then fails on our own write.
        found = self.read(name)
        if found is None or found[0] != data:
            raise self._conflict(name)
        return found[1]

    def _careful_swap(self, name: str, data: bytes, token: str | None) -> str:
        found = self.read(name)
        if (found[1] if found else None) != token:
            raise self._conflict(name)
        with self._explained(name):
            self._with_checksums(lambda: self._put_if(name, data, {}))
        time.sleep(self.patience.delay(1))
        return self._lost_reply(name, data)  # the last of two writers at once wins, and the other one learns of it

    def _honours_conditions(self) -> bool:
        """Whether conditional writes fail as they must, tried on a file of our own."""
        from botocore.exceptions import ClientError

        name = f".regan-probe-{time.time_ns():x}"
        with self._explained(name):
            try:
                self._with_checksums(lambda: self._put_if(name, b"1", {}))
                forbidden = ({"IfNoneMatch": "*"}, {"IfMatch": '"00000000000000000000000000000000"'})
                return all(self._put_if(name, b"2", condition) is None for condition in forbidden)
            except ClientError as error:
                if _code(error) in _UNSUPPORTED or _status(error) == 501:
                    return False
                raise
            finally:
                with suppress(ClientError):  # whoever may not remove files may still write versions
                    self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    @contextmanager
    def _explained(self, name: str = "") -> Iterator[None]:
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
            raise PermissionError(provider.told(provider.CREDENTIALS, self.uri, error, hint=hint)) from error
        except FlexibleChecksumError as error:
            raise DamageError(f"{name} of {self.uri} arrived with another checksum: {error}") from error
        except (ClientError, Boto3Error, BotoCoreError) as error:
            code = _code(_answer(error))
            if code in _ABSENT or code == "NoSuchBucket":
                raise FileNotFoundError(provider.told(provider.BUCKET, self.uri, error)) from error
            if code in _REFUSED:
                raise PermissionError(provider.told(provider.PERMISSION, self.uri, error)) from error
            raise ConnectionError(provider.told(provider.ANSWER, self.uri, error)) from error


@functools.cache
def _descriptions() -> Any:
    """Boto's descriptions of the services; each session would parse some megabytes of JSON anew."""
    from botocore.loaders import create_loader

    return create_loader()


def _is_aws(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _answer(error: BaseException) -> Any:
    """What the server said: boto's own errors are raised while that is handled."""
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
