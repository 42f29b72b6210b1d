import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from regan.runs.weights_check import weights_check


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


@pytest.fixture
def host():
    """A server that answers HEAD with a status that the test sets."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_HEAD(self):
            seen.append(self.path)
            self.send_response(Handler.status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield Handler, f"http://127.0.0.1:{server.server_address[1]}/keras/", seen
    server.shutdown()
    server.server_close()


def test_no_weights_are_always_there():
    assert weights_check("none", "InceptionResNetV2").ok == "yes"


@pytest.mark.parametrize(("status", "ok"), [(200, "yes"), (404, "yes"), (503, "no"), (407, "no")])
def test_the_host_of_imagenet_weights_must_answer(host, status, ok):
    handler, url, seen = host
    handler.status = status
    check = weights_check("imagenet", "InceptionResNetV2", host=url)
    assert (check.ok, seen) == (ok, ["/keras/"])
    assert str(status) in check.found


def test_a_host_that_is_silent_or_away_fails_soon_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        check = weights_check("imagenet", "InceptionResNetV2", host=url, seconds=0.3)
    assert check.ok == "no"
    assert "timed out" in check.found
    assert "classifier_weights=none" in check.advice
    assert weights_check("imagenet", "InceptionResNetV2", host=url, seconds=0.3).ok == "no"


def test_weights_in_the_cache_of_keras_need_no_network(keras_home):
    away = "http://127.0.0.1:9/"
    path = keras_home / "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.write_bytes(b"weights")
    (keras_home / "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"others")
    check = weights_check("imagenet", "InceptionResNetV2", host=away)
    assert check.ok == "yes"
    assert hashlib.sha256(b"weights").hexdigest() in check.found
    assert weights_check("imagenet", "ResNet50V2", host=away).ok == "yes"
    assert weights_check("imagenet", "ResNet50", host=away).ok == "no"


def test_a_file_is_told_with_size_and_hash(tmp_path):
    path = tmp_path / "my.weights.h5"
    path.write_bytes(b"x" * 1000)
    check = weights_check(str(path), "InceptionResNetV2")
    assert check.ok == "yes"
    assert "1,000 bytes" in check.found
    assert hashlib.sha256(b"x" * 1000).hexdigest() in check.found


def test_a_file_at_an_address_is_told_with_its_hash(s3, tmp_path):
    import boto3

    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="w/my.weights.h5", Body=b"abc")
    check = weights_check(f"{s3}/w/my.weights.h5", "InceptionResNetV2")
    assert check.ok == "yes"
    assert hashlib.sha256(b"abc").hexdigest() in check.found
    assert weights_check(f"{s3}/w/other.weights.h5", "InceptionResNetV2").ok == "no"


def test_no_file_a_folder_and_weights_that_small_has_not_fail(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one").touch()
    for wrong in (tmp_path / "absent.weights.h5", tmp_path / "folder"):
        check = weights_check(str(wrong), "InceptionResNetV2")
        assert (check.ok, "classifier_weights=none" in check.advice) == ("no", True)
    assert weights_check("imagenet", "small").ok == "no"
