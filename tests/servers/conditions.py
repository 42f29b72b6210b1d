"""Servers of S3 that lack conditional writes or checksums, as rules of a proxy."""

from tests.servers.proxy import Reply, Request

_CONDITIONS = ("if-match", "if-none-match")


def _conditional(request: Request) -> bool:
    return request.method == "PUT" and any(name.lower() in _CONDITIONS for name in request.headers)


def ignores_conditions(request: Request, forward) -> Reply:
    """Writes whatever the condition says."""
    if _conditional(request):
        request.headers = {n: value for n, value in request.headers.items() if n.lower() not in _CONDITIONS}
    return forward(request)


def refuses_conditions(request: Request, forward) -> Reply:
    """Answers that it does not know conditional writes."""
    if not _conditional(request):
        return forward(request)
    body = b"<Error><Code>NotImplemented</Code><Message>A header you provided implies it.</Message></Error>"
    return Reply(501, [("Content-Type", "application/xml")], body)


def refuses_checksums(request: Request, forward) -> Reply:
    """Answers that it does not know the checksums that newer clients send along."""
    if request.method not in ("PUT", "POST") or not any("checksum" in name.lower() for name in request.headers):
        return forward(request)
    body = b"<Error><Code>NotImplemented</Code><Message>x-amz-sdk-checksum-algorithm</Message></Error>"
    return Reply(501, [("Content-Type", "application/xml")], body)
