import http.client
import json
import time
import urllib.error
import urllib.request

import pytest

from tests.servers.conditions import ignores_conditions, refuses_conditions
from tests.servers.generations import Generations
from tests.servers.proxy import Fault, Proxy, every, first
from tests.servers.start import gs_server, s3_server, use_s3


@pytest.fixture(scope="module")
def gs_url():
    with gs_server() as url:
        yield url


@pytest.fixture(scope="module")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture
def proxy(gs_url):
    proxy = Proxy(gs_url, Generations())
    ask(proxy, "POST", "/storage/v1/b", b'{"name": "bucket"}', "application/json")
    ask(proxy, "DELETE", "/storage/v1/b/bucket/o/a%2Fname")
    yield proxy
    proxy.close()


def ask(proxy, method, target, body=None, kind="application/octet-stream"):
    request = urllib.request.Request(proxy.url + target, body, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def write(proxy, data, condition=""):
    return ask(proxy, "POST", f"/upload/storage/v1/b/bucket/o?uploadType=media&name=a/name{condition}", data)


def generation(proxy):
    return json.loads(ask(proxy, "GET", "/storage/v1/b/bucket/o/a%2Fname")[1])["generation"]


def content(proxy, condition=""):
    return ask(proxy, "GET", f"/download/storage/v1/b/bucket/o/a%2Fname?alt=media{condition}")


def test_a_write_with_generation_0_succeeds_once(proxy):
    assert write(proxy, b"one", "&ifGenerationMatch=0")[0] == 200
    status, body = write(proxy, b"two", "&ifGenerationMatch=0")
    assert (status, json.loads(body)["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
    assert content(proxy) == (200, b"one")


def test_a_wrong_generation_is_answered_with_412_and_the_right_one_is_not(proxy):
    write(proxy, b"one")
    assert write(proxy, b"two", "&ifGenerationMatch=1")[0] == 412
    assert write(proxy, b"two", f"&ifGenerationMatch={generation(proxy)}")[0] == 200
    assert content(proxy) == (200, b"two")


def test_a_multipart_upload_is_held_to_its_generation(proxy):
    body = (
        b'--x\r\nContent-Type: application/json\r\n\r\n{"name": "a/name"}\r\n'
        b"--x\r\nContent-Type: text/plain\r\n\r\ntext\r\n--x--\r\n"
    )
    target = "/upload/storage/v1/b/bucket/o?uploadType=multipart&ifGenerationMatch="
    assert ask(proxy, "POST", target + "0", body, 'multipart/related; boundary="x"')[0] == 200
    assert ask(proxy, "POST", target + "0", body, 'multipart/related; boundary="x"')[0] == 412


def test_a_resumable_upload_is_held_to_its_generation_when_it_ends(proxy):
    target = "/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a/name&ifGenerationMatch=0"
    request = urllib.request.Request(proxy.url + target, b"{}", {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request) as answer:
        session = answer.headers["Location"]
    assert session.startswith(proxy.url)
    write(proxy, b"another writer")
    assert ask(proxy, "PUT", session.removeprefix(proxy.url), b"late")[0] == 412
    assert content(proxy) == (200, b"another writer")


def test_a_delete_and_a_read_are_held_to_their_generation(proxy):
    write(proxy, b"one")
    old = generation(proxy)
    write(proxy, b"two")
    assert content(proxy, f"&generation={old}")[0] == 404
    assert content(proxy, f"&generation={generation(proxy)}") == (200, b"two")
    assert ask(proxy, "DELETE", f"/storage/v1/b/bucket/o/a%2Fname?ifGenerationMatch={old}")[0] == 412
    assert ask(proxy, "DELETE", f"/storage/v1/b/bucket/o/a%2Fname?ifGenerationMatch={generation(proxy)}")[0] == 200
    assert content(proxy)[0] == 404


def test_a_status_reaches_the_client_and_nothing_the_server(proxy):
    with proxy.faults(first(1, Fault(status=503, body=b"later"))):
        assert write(proxy, b"one") == (503, b"later")
    assert content(proxy)[0] == 404


@pytest.mark.parametrize(("lost", "status"), [("before", 404), ("after", 200)])
def test_a_line_is_cut_before_or_after_the_server_did_its_work(proxy, lost, status):
    with proxy.faults(first(1, Fault(lost=lost))), pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        write(proxy, b"one")
    assert content(proxy)[0] == status


def test_a_reply_is_cut_changed_or_slow(proxy):
    write(proxy, b"0123456789")
    with proxy.faults(first(1, Fault(cut=0.5))), pytest.raises(http.client.IncompleteRead) as raised:
        content(proxy)
    assert raised.value.partial == b"01234"
    with proxy.faults(first(1, Fault(flip=True))):
        assert content(proxy)[1] == b"1123456789"
    before = time.monotonic()
    with proxy.faults(first(1, Fault(pause=0.02, pieces=5))):
        assert content(proxy)[1] == b"0123456789"
    assert time.monotonic() - before >= 0.1


def test_faults_hit_those_requests_that_they_should(proxy):
    with proxy.faults(every(3, Fault(status=503), lambda request: request.method == "GET")) as seen:
        found = [content(proxy)[0] for _ in range(3)] + [write(proxy, b"x")[0]] + [content(proxy)[0] for _ in range(3)]
    assert found == [404, 404, 503, 200, 200, 200, 503]
    assert [request.number for request in seen] == list(range(1, 8))
    assert content(proxy)[0] == 200


@pytest.mark.parametrize(("rules", "outcome"), [(None, 412), (ignores_conditions, 200), (refuses_conditions, 501)])
def test_a_server_of_s3_may_lack_conditions(s3_url, monkeypatch, rules, outcome):
    import boto3
    from botocore.exceptions import ClientError

    proxy = Proxy(s3_url, rules)
    bucket = use_s3(proxy.url, monkeypatch.setenv).removeprefix("s3://")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="a", Body=b"1")
    try:
        found = client.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")["ResponseMetadata"]
    except ClientError as error:
        found = error.response["ResponseMetadata"]
    assert found["HTTPStatusCode"] == outcome
    proxy.close()
