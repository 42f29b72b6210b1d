"""A page in headless Chromium over the DevTools protocol: what it logs, what it asks for, how wide it is."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

QUIET = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", "--hide-scrollbars", *QUIET)
REMOTE = ("--remote-debugging-port=0", "--remote-allow-origins=*")


class Page:
    """One open page. `messages` holds errors and warnings of its console, `requests` every address it asked for."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60)
        self._numbers = itertools.count(1)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def open(self, path: Path, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._note(json.loads(self._socket.recv()))

    def value(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1} if whole else None
        options = {"captureBeyondViewport": True, "clip": clip} if whole else {}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"]))

    def pdf(self, path: Path) -> None:
        data = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self._socket.close()

    def _note(self, event: dict[str, Any]) -> None:
        what = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(what["request"]["url"])
            case "Log.entryAdded":
                self.messages.append(what["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.messages.append(str(what["args"]))
            case "Runtime.exceptionThrown":
                self.messages.append(str(what["exceptionDetails"]))


@contextmanager
def chromium_page() -> Iterator[Page]:
    """A blank page in a browser of its own; skips where there is no Chromium, unless the tools are required."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("REGAN_REQUIRE_TOOLS") == "1":
            pytest.fail("Chromium is required here (REGAN_REQUIRE_TOOLS=1) and was not found.")
        pytest.skip("needs Chromium: install the package `chromium`")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "stderr.txt"
        with log.open("w") as stderr:
            browser = subprocess.Popen(
                [program, *SWITCHES, *REMOTE, f"--user-data-dir={profile}/data", "about:blank"],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            page = Page(_page_address(log, browser))
            yield page
            page.close()
        finally:
            browser.terminate()
            try:
                browser.wait(20)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()


def _page_address(log: Path, browser: subprocess.Popen) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and browser.poll() is None:
        found = re.search(r"ws://\S+", log.read_text())
        if found:
            return _first_page(found.group())
        time.sleep(0.05)
    raise RuntimeError(f"Chromium did not start within 60 s: {log.read_text()[-2000:]}")


def _first_page(address: str) -> str:
    socket = websocket.create_connection(address, timeout=60)
    socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    targets = json.loads(socket.recv())["result"]["targetInfos"]
    socket.close()
    page = next(target["targetId"] for target in targets if target["type"] == "page")
    return address.split("/devtools/")[0] + f"/devtools/page/{page}"
