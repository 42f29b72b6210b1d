"""The connection to a Kubeflow Pipelines server; its refusals become errors that say what to do."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regan.common.errors import (
    ReganError,
    RequestRefusedError,
    ServerAccessError,
    ServerUnavailableError,
    SettingError,
)

if TYPE_CHECKING:
    from kfp.client import Client

ENDPOINT = "KF_PIPELINES_ENDPOINT"
UI_ENDPOINT = "KF_PIPELINES_UI_ENDPOINT"
# Seconds to connect, and to wait for the answer of the health check.
_TIMEOUTS = (5, 30)
# Characters that are printed of an answer that is not JSON, such as a proxy's page.
_LONGEST = 300


@dataclass(frozen=True)
class Server:
    """A Kubeflow Pipelines server, and how to authenticate.

    Attributes:
        endpoint: URL of the server, with http:// or https://.
        namespace: Namespace of the runs, on a multi-user server.
        token_file: File with a bearer token, read for every request, so that it may be renewed; empty = no token.
        ca_file: PEM file of the authority that signed the server's certificate; empty = those of the system.
    """

    endpoint: str
    namespace: str = ""
    token_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not self.endpoint:
            raise SettingError(f"No server is set. Use --endpoint https://... or the variable {ENDPOINT}.")
        if not self.endpoint.startswith(("http://", "https://")):
            raise SettingError(
                f"--endpoint {self.endpoint!r} has no scheme. Use https://{self.endpoint}, or http:// for a server "
                "without TLS."
            )
        for option, path in (("--token-file", self.token_file), ("--ca-file", self.ca_file)):
            if path and not (Path(path).is_file() and Path(path).read_text(encoding="utf-8").strip()):
                raise SettingError(f"{option} {path!r} does not exist or is empty. Check the path.")


def connect(server: Server) -> "Client":
    """Connect to a server, once its health check succeeds.

    Args:
        server: The server, and how to authenticate.

    Returns:
        kfp's client.

    Raises:
        SettingError: The server is a multi-user server, and no namespace is set.
        ServerUnavailableError: Something other than Kubeflow Pipelines answers there.
    """
    import kfp_server_api
    from kfp.client import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    class QuietClient(Client):
        """Runs the health check once; kfp's own tries five times and prints a traceback each time."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
            answer = self._healthz_api.healthz_service_get_healthz(_preload_content=False, _request_timeout=_TIMEOUTS)
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=_health(server, answer.data).get("multi_user"))

    credentials = ServiceAccountTokenVolumeCredentials(server.token_file) if server.token_file else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = QuietClient(server.endpoint, credentials=credentials, ssl_ca_cert=server.ca_file or None)
    if client.get_kfp_healthz().multi_user and not (server.namespace or client.get_user_namespace()):
        raise SettingError(f"{server.endpoint} is a multi-user server. Set the namespace of the runs with --namespace.")
    return client


def _health(server: Server, answer: bytes) -> dict[str, Any]:
    try:
        health = json.loads(answer)
    except ValueError:
        health = None
    if not isinstance(health, dict):
        raise ServerUnavailableError(
            f"{server.endpoint} did not answer as the API of Kubeflow Pipelines does; it may have sent a login page. "
            "Check the URL, and set a token with --token-file."
        )
    return health


@contextmanager
def explain_errors(server: Server) -> Iterator[None]:
    """Turn exceptions of kfp's client into errors that say what to do; keep its own prints off stdout.

    Args:
        server: The server that the client is connected to.

    Raises:
        RequestRefusedError: The server refused the request.
        ServerAccessError: The server needs a token, or the account lacks a permission.
        ServerUnavailableError: Nothing answers, or something other than Kubeflow Pipelines.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        with redirect_stdout(StringIO()):  # kfp prints links of its own
            yield
    except ApiException as error:
        raise _refusal(server, error) from error
    except HTTPError as error:
        untrusted = "certificate" in str(error).lower()
        advice = "Set the file of its authority with --ca-file." if untrusted else "Check the URL and the network."
        reason = str(getattr(error, "reason", error)).split(": ", 1)[-1].rstrip(".")
        raise ServerUnavailableError(f"{server.endpoint} cannot be reached: {reason}. {advice}") from error


def _refusal(server: Server, error: Any) -> ReganError:
    message, namespace = message_of(error), server.namespace or "its namespace"
    if error.status == 401:
        advice = "It may have expired: write a new one." if server.token_file else "Set one with --token-file."
        problem = f"rejects the token in {server.token_file}" if server.token_file else "needs a token"
        return ServerAccessError(f"{server.endpoint} {problem} (401). {advice} The server's message: {message}")
    if error.status == 403:
        return ServerAccessError(
            f"{server.endpoint} denies this account access to {namespace} (403). Check --namespace, or ask for the "
            f"role kubeflow-edit there. The server's message: {message}"
        )
    if error.status == 404:
        return ServerUnavailableError(
            f"{server.endpoint} does not have this API (404). Check the URL. The server's message: {message}"
        )
    return RequestRefusedError(f"{server.endpoint} refused the request ({error.status}): {message}")


def message_of(error: Any) -> str:
    """The server's own message in an `ApiException`."""
    try:
        answer = json.loads(error.body)
        return str(answer.get("message") or answer.get("error") or error.body)
    except (TypeError, ValueError, AttributeError):
        return str(error.body or error.reason)[:_LONGEST]


def page_url(server: Server, page: str) -> str:
    """URL of a page of the UI."""
    return f"{(os.environ.get(UI_ENDPOINT) or server.endpoint).rstrip('/')}/#/{page}"
