"""An S3 server behind a proxy that can refuse, and a source of two classes."""

import pytest

from tests.servers.proxy import Proxy
from tests.servers.start import s3_server, use_s3


@pytest.fixture(scope="session")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture
def s3_proxy(s3_url):
    proxy = Proxy(s3_url)
    yield proxy
    proxy.close()


@pytest.fixture
def s3(s3_proxy, monkeypatch):
    return use_s3(s3_proxy.url, monkeypatch.setenv)


@pytest.fixture
def source(tmp_path):
    for label in ("benign", "malignant"):
        (tmp_path / "source" / label).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "source" / label / f"Jane Doe {number}.png").write_bytes(bytes(number))
    return tmp_path / "source"
