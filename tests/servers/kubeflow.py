"""A server that answers the requests of kfp's client and command line, and records what they sent."""

import json
import re
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

API = "/apis/v2beta1/"
MOMENT = "2027-01-31T02:00:00Z"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Kubeflow:
    """A server in a thread, and what it holds."""

    multi_user: bool = False
    page_size: int = 100
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)  # "METHOD path" -> what to answer instead
    requests: list[Request] = field(default_factory=list)
    held: dict[str, list[dict]] = field(default_factory=lambda: {"experiments": [], "runs": [], "recurringruns": []})
    endpoint: str = ""

    def sent(self, method: str, path: str) -> list[Any]:
        """Bodies of the requests of one kind."""
        return [request.body for request in self.requests if (request.method, request.path) == (method, API + path)]

    def answer(self, request: Request) -> tuple[int, Any]:
        instead = self.answers.get(f"{request.method} {request.path}") or self.answers.get("all")
        if instead:
            return instead
        path = request.path.removeprefix(API)
        if path == "healthz":
            return 200, {"multi_user": self.multi_user}
        if path == "pipelines/upload":
            return 200, {"pipeline_id": "pipeline-1", "display_name": request.query["name"], "created_at": MOMENT}
        kind, _, name = path.partition("/")
        if kind not in self.held:
            return 404, {"code": 5, "message": "Not Found"}
        return {"GET": self._get, "POST": self._post, "DELETE": self._delete}[request.method](kind, name, request)

    def _get(self, kind: str, name: str, request: Request) -> tuple[int, Any]:
        if name:
            return 200, next(thing for thing in self.held[kind] if name in thing.values())
        filtered = json.loads(request.query.get("filter") or "{}").get("predicates", [])
        wanted = {predicate["key"]: predicate["stringValue"] for predicate in filtered}
        if request.query.get("namespace"):
            wanted["namespace"] = request.query["namespace"]
        found = [thing for thing in self.held[kind] if all(thing.get(key) == wanted[key] for key in wanted)]
        first = int(request.query.get("page_token") or 0)
        last = first + self.page_size
        page = {"next_page_token": str(last)} if last < len(found) else {}
        return 200, {kind.replace("ringr", "ringR"): found[first:last], **page}

    def _post(self, kind: str, name: str, request: Request) -> tuple[int, Any]:
        singular = {"experiments": "experiment", "runs": "run", "recurringruns": "recurring_run"}[kind]
        number = len(self.requests)
        known = {thing["experiment_id"]: thing for thing in self.held["experiments"]}
        namespace = known.get(request.body.get("experiment_id"), request.body).get("namespace")
        made = {**request.body, f"{singular}_id": f"{singular}-{number}", "created_at": MOMENT, "namespace": namespace}
        self.held[kind].append(made)
        return 200, made

    def _delete(self, kind: str, name: str, request: Request) -> tuple[int, Any]:
        self.held[kind] = [thing for thing in self.held[kind] if name not in thing.values()]
        return 200, {}


@contextmanager
def serving(certificate: Path | None = None, **settings):
    """A server of this machine, until the end of the block; over TLS with a certificate (PEM, key and certificate)."""
    kubeflow = Kubeflow(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            address = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = self.headers.get("Content-Type") or ""
            body = json.loads(data) if data and "json" in kind else data
            query = dict(parse_qsl(address.query))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, address.path, query, headers, body)
            kubeflow.requests.append(request)
            status, answer = kubeflow.answer(request)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    kubeflow.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kubeflow
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def uploaded_file(body: bytes) -> str:
    """Text of the file in a multipart body."""
    return re.search(rb"filename=.*?\r\n\r\n(.*?)\r\n--", body, re.DOTALL)[1].decode()
