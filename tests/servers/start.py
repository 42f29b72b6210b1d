"""Real servers of storage, started by the tests on the loopback device."""

import logging
import os
import socket
from contextlib import contextmanager


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def s3_server():
    """URL of moto's server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def gs_server():
    """URL of the emulator of Cloud Storage, in memory."""
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def use_s3(url, setenv):
    """Point boto at a server; a new bucket there, as an address."""
    setenv("AWS_ENDPOINT_URL_S3", url)
    setenv("AWS_ACCESS_KEY_ID", "test")
    setenv("AWS_SECRET_ACCESS_KEY", "test")
    setenv("AWS_DEFAULT_REGION", "us-east-1")
    import boto3

    name = f"bucket-{os.urandom(4).hex()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def use_gs(url, setenv):
    """Point Google's library at a server; a new bucket there, as an address."""
    setenv("STORAGE_EMULATOR_HOST", url)
    from google.cloud.storage import Client

    return f"gs://{Client().create_bucket(f'bucket-{os.urandom(4).hex()}').name}"
