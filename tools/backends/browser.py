"""Debian's Chromium without a window, told what to do over its DevTools protocol.

A page is ready when its text holds what it is opened for, not after some time; what the picture then shows is
therefore there. The browser reaches nothing but this machine.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from servers import NotHere, running
from websockets.sync.client import ClientConnection, connect

SECONDS: Final = 60
_FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a DevTools command."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SECONDS))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, width: int, height: int) -> None:
        """Go to an address in a window of this size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Page.navigate", url=url)

    def wait(self, pattern: str, click: str | None = None) -> str | None:
        """What in the page's text matches, once it does; a button of the text `click` is pressed if one comes up."""
        deadline = time.monotonic() + SECONDS
        press = f"[...document.querySelectorAll('button')].find(one => one.innerText === {json.dumps(click)})?.click()"
        while time.monotonic() < deadline:
            if click is not None:
                self.run(press)
            found = re.search(pattern, self.run("document.body.innerText") or "", re.DOTALL)
            if found is not None:
                return found[0]
            time.sleep(0.3)
        return None

    def picture(self, path: Path) -> None:
        """Write what the window shows as a PNG, when it has stood still."""
        last = b""
        for _ in range(20):
            shown = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
            if shown == last:
                break
            last = shown
            time.sleep(0.5)
        path.write_bytes(last)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A tab of a new browser. Raises NotHere if there is none."""
    program = shutil.which("chromium")
    if program is None:
        raise NotHere("no chromium on the path (Debian: apt-get install chromium)")
    profile = folder / "chromium"
    shutil.rmtree(profile, ignore_errors=True)
    profile.mkdir()
    port_file = profile / "DevToolsActivePort"
    with running([program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"], folder / "chromium.log"):
        deadline = time.monotonic() + SECONDS
        while not port_file.exists() or len(port_file.read_text().splitlines()) < 2:
            if time.monotonic() > deadline:
                raise NotHere("chromium did not start")
            time.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        with connect(tabs[0]["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            yield Page(socket)
