"""A loopback proxy between the code under test and a server of storage: it makes faults, and keeps what it saw."""

import http.client
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Request:
    number: int  # 1 for the first since the plan was set
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    faults: list[str] = field(default_factory=list)

    @property
    def path(self):
        return unquote(urlsplit(self.target).path)

    @property
    def query(self):
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: Answer with this status and `body`; nothing reaches the server.
        lost: Cut the line; "before" the server sees the request, or "after" it did what was asked.
        cut: Cut the line after this share of the body of the reply.
        flip: Change a byte of the body of the reply.
        pause: Wait before the reply, and between its pieces, seconds.
        pieces: Number of pieces that a paused reply comes in.
    """

    status: int = 0
    body: bytes = b""
    lost: str = ""
    cut: float = 1.0
    flip: bool = False
    pause: float = 0.0
    pieces: int = 1


Rules = Callable[[Request, Callable[[Request], Reply]], Reply]
Plan = Callable[[Request], Fault | None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, many connections at once wait for a second


class Proxy:
    """Listens on the loopback device; `plan` says which request meets which fault, `rules` what the server lacks."""

    def __init__(self, backend: str, rules: Rules | None = None) -> None:
        self._backend = urlsplit(backend).netloc
        self._rules = rules or (lambda request, forward: forward(request))
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._lock = threading.Lock()
        self.forget()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget(self):
        """No faults any more, and nothing seen."""
        self.plan: Plan = lambda request: None
        self.seen: list[Request] = []

    @contextmanager
    def faults(self, plan: Plan):
        """The plan holds in the block; `seen` begins anew."""
        self.forget()
        self.plan = plan
        try:
            yield self.seen
        finally:
            self.plan = lambda request: None

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def saw(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[Request, Fault]:
        with self._lock:
            request = Request(len(self.seen) + 1, method, target, headers, body)
            self.seen.append(request)
            fault = self.plan(request) or Fault()
            return request, fault

    def answer(self, request: Request) -> Reply:
        return self._rules(request, self._forward)

    def _forward(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection(self._backend, timeout=60)
        try:
            connection.request(request.method, request.target, request.body, request.headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _handler(proxy):  # noqa: N805 - the handler's own methods are called self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet a reply, so that no delayed acknowledgement is waited for
            disable_nagle_algorithm = True

            def handle_expect_100(self):
                super().handle_expect_100()
                self.wfile.flush()
                return True

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                request, fault = proxy.saw(self.command, self.path, headers, body)
                if fault.lost == "before":
                    self.close_connection = True
                    return
                reply = Reply(fault.status, [], fault.body) if fault.status else proxy.answer(request)
                if fault.lost == "after":
                    self.close_connection = True
                    return
                self.send(reply, fault)

            def send(self, reply, fault):
                time.sleep(fault.pause)
                data = reply.body
                if fault.flip and data:
                    data = bytes([data[0] ^ 1]) + data[1:]
                self.send_response_only(reply.status)
                for name, value in reply.headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = dict((name.lower(), value) for name, value in reply.headers).get("content-length", len(data))
                self.send_header("Content-Length", str(length if self.command == "HEAD" else len(data)))
                self.end_headers()
                size = max(len(data) // fault.pieces, 1)
                end = len(data) if fault.cut >= 1 else int(len(data) * fault.cut)
                for start in range(0, end, size):
                    self.wfile.write(data[start : min(start + size, end)])
                    if fault.pieces > 1:
                        self.wfile.flush()
                        time.sleep(fault.pause)
                if end < len(data):
                    self.close_connection = True

            def log_message(self, *args):
                pass

        for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.serve)
        return Handler


def every(number: int, fault: Fault, only: Callable[[Request], bool] = lambda request: True) -> Plan:
    """Each so many-th request, of those that count, meets the fault."""
    count = [0]

    def plan(request: Request) -> Fault | None:
        if not only(request):
            return None
        count[0] += 1
        return fault if count[0] % number == 0 else None

    return plan


def first(number: int, fault: Fault, only: Callable[[Request], bool] = lambda request: True) -> Plan:
    """The first so many requests, of those that count, meet the fault."""
    left = [number]

    def plan(request: Request) -> Fault | None:
        if not only(request) or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan
