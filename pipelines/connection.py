"""The connection to a Kubeflow Pipelines server, and its refusals in words that help."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfp.client import Client

ENDPOINT = "KF_PIPELINES_ENDPOINT"
UI_ENDPOINT = "KF_PIPELINES_UI_ENDPOINT"
# Seconds to connect, and to answer whether the server is well.
_PATIENCE = (5, 30)
# Characters of an answer that is no JSON, such as a proxy's page.
_LONGEST = 300


@dataclass(frozen=True)
class Server:
    """Where to send, and who sends.

    Attributes:
        endpoint: Address of the server, with http:// or https://.
        namespace: Namespace of the runs, where the server has several users.
        token_file: File with the token that tells who sends; read anew for every request. Empty = none.
        ca_file: PEM file of the authority that signed the server's certificate; empty = the usual ones.
    """

    endpoint: str
    namespace: str = ""
    token_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not self.endpoint:
            raise ValueError(
                f"There is no server to send to. Name it by --endpoint https://... or by the variable {ENDPOINT}."
            )
        if not self.endpoint.startswith(("http://", "https://")):
            raise ValueError(
                "--endpoint expects an address with its scheme. "
                f"Received {self.endpoint!r}. Write https://{self.endpoint}, or http:// where there is no TLS."
            )
        for option, path in (("--token-file", self.token_file), ("--ca-file", self.ca_file)):
            if path and not (Path(path).is_file() and Path(path).read_text(encoding="utf-8").strip()):
                raise ValueError(f"{option} expects a file that is not empty. Received {path!r}.")


def connect(server: Server) -> "Client":
    """Connect to a server that is well.

    Args:
        server: Where, and who.

    Returns:
        kfp's client.

    Raises:
        ValueError: The server has several users, and no namespace is named.
        ConnectionError: Something else than Kubeflow Pipelines answers there.
    """
    import kfp_server_api
    from kfp.client import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    class Patient(Client):
        """Asks once whether the server is well; kfp's own asks five times and prints a traceback each time."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
            answer = self._healthz_api.healthz_service_get_healthz(_preload_content=False, _request_timeout=_PATIENCE)
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=_health(server, answer.data).get("multi_user"))

    credentials = ServiceAccountTokenVolumeCredentials(server.token_file) if server.token_file else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = Patient(server.endpoint, credentials=credentials, ssl_ca_cert=server.ca_file or None)
    if client.get_kfp_healthz().multi_user and not (server.namespace or client.get_user_namespace()):
        raise ValueError(f"{server.endpoint} has several users. Name the namespace of the runs by --namespace.")
    return client


def _health(server: Server, answer: bytes) -> dict[str, Any]:
    try:
        health = json.loads(answer)
    except ValueError:
        health = None
    if not isinstance(health, dict):
        raise ConnectionError(
            f"{server.endpoint} answered with something else than the API of Kubeflow Pipelines, perhaps with a page "
            "to log in. Check the address, and give a token by --token-file."
        )
    return health


@contextmanager
def explained(server: Server) -> Iterator[None]:
    """Turn what kfp's client raises inside into errors that say what to do; keep its own prints off stdout.

    Args:
        server: The server that is talked to.

    Raises:
        ValueError: The server refused the values.
        PermissionError: The server wants a token, or the account may not.
        ConnectionError: Nothing answers, or no Kubeflow Pipelines.
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
        advice = "Name the file of its authority by --ca-file." if untrusted else "Check the address and the network."
        reason = str(getattr(error, "reason", error)).split(": ", 1)[-1].rstrip(".")
        raise ConnectionError(f"{server.endpoint} cannot be reached: {reason}. {advice}") from error


def _refusal(server: Server, error: Any) -> Exception:
    said, place = said_by(error), server.namespace or "its namespace"
    if error.status == 401:
        advice = "It may have expired: write a new one." if server.token_file else "Give one by --token-file."
        which = f"does not take the token in {server.token_file}" if server.token_file else "wants a token"
        return PermissionError(f"{server.endpoint} {which} (401). {advice} The server said: {said}")
    if error.status == 403:
        return PermissionError(
            f"{server.endpoint} knows you, but you may not do this in {place} (403). Check --namespace, or ask for the "
            f"role kubeflow-edit there. The server said: {said}"
        )
    if error.status == 404:
        return ConnectionError(f"{server.endpoint} has no such page of the API (404). Check the address: {said}")
    return ValueError(f"{server.endpoint} refused the request ({error.status}): {said}")


def said_by(error: Any) -> str:
    """The server's own words in an `ApiException`."""
    try:
        answer = json.loads(error.body)
        return str(answer.get("message") or answer.get("error") or error.body)
    except (TypeError, ValueError, AttributeError):
        return str(error.body or error.reason)[:_LONGEST]


def page_url(server: Server, page: str) -> str:
    """Address of a page of the UI."""
    return f"{(os.environ.get(UI_ENDPOINT) or server.endpoint).rstrip('/')}/#/{page}"
