"""Storage behind proxies: `bucket` is an address in it, `proxy` the one that stands before it."""

import pytest

from regan.storage import provider
from regan.storage.provider import RetryPolicy
from tests.servers.generations import Generations
from tests.servers.proxy import Proxy
from tests.servers.start import gs_server, s3_server, use_gs, use_s3


@pytest.fixture(scope="session")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def gs_url():
    with gs_server() as url:
        yield url


@pytest.fixture
def s3_proxy(s3_url):
    proxy = Proxy(s3_url)
    yield proxy
    proxy.close()


@pytest.fixture
def gs_proxy(gs_url):
    proxy = Proxy(gs_url, Generations())
    yield proxy
    proxy.close()


@pytest.fixture
def s3(s3_proxy, monkeypatch):
    return use_s3(s3_proxy.url, monkeypatch.setenv)


@pytest.fixture
def gs(gs_proxy, monkeypatch):
    return use_gs(gs_proxy.url, monkeypatch.setenv)


@pytest.fixture(params=["s3", "gs", "local"])
def bucket(request, tmp_path):
    return str(tmp_path / "bucket") if request.param == "local" else request.getfixturevalue(request.param)


@pytest.fixture(params=["s3", "gs"])
def cloud(request, monkeypatch):
    """An address and the proxy before it, with short waits."""
    monkeypatch.setattr(provider, "RETRY_POLICY", RetryPolicy(seconds=20, first=0.05, longest=0.2, answer=2))
    return request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_proxy")
