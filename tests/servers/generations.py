"""Preconditions on generations, as Cloud Storage keeps them; the emulator ignores every one of them."""

import json
import re
import threading
from urllib.parse import quote

from tests.servers.proxy import Reply, Request

_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")


class Generations:
    """Rules of a proxy: 412 where `ifGenerationMatch` is wrong, 404 for a generation that is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, tuple[str, str, str]] = {}  # resumable upload -> bucket, name, condition

    def __call__(self, request: Request, forward) -> Reply:
        with self._lock:  # the check and the write are one
            return self._checked(request, forward)

    def _checked(self, request, forward):
        condition, session = request.query.get("ifGenerationMatch"), request.query.get("upload_id")
        bucket, name = self._object(request)
        if session in self._sessions:
            bucket, name, condition = self._sessions[session]
        if condition is not None and name and condition != self._generation(bucket, name, forward):
            return _error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        asked = request.query.get("generation")
        if request.method == "GET" and asked and asked != self._generation(bucket, name, forward):
            return _error(404, "notFound", f"No such object: {bucket}/{name}")
        reply = forward(request)
        if request.query.get("uploadType") == "resumable" and condition is not None:
            location = dict((key.lower(), value) for key, value in reply.headers).get("location", "")
            opened = Request(0, "PUT", location, {}, b"").query.get("upload_id", "")
            self._sessions[opened] = (bucket, name, condition)
        return reply

    def _object(self, request):
        if match := _OBJECT.fullmatch(request.path):
            return match[1], match[2]
        match = _UPLOAD.fullmatch(request.path)
        if match is None:
            return "", ""
        if "name" in request.query:
            return match[1], request.query["name"]
        found = re.search(rb'\{.*?"name":.*?\}', request.body[:4096], re.DOTALL)
        return match[1], json.loads(found[0])["name"] if found else ""

    def _generation(self, bucket, name, forward):
        reply = forward(Request(0, "GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}", {}, b""))
        return json.loads(reply.body)["generation"] if reply.status == 200 else "0"


def _error(status, reason, message):
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return Reply(status, [("Content-Type", "application/json")], json.dumps({"error": error}).encode())
