"""A headless Chromium, driven over the pipe of its DevTools protocol: no port, no package.

Protocol: https://chromedevtools.github.io/devtools-protocol/. Messages are JSON, each ended by a
zero byte; the browser reads them from its file 3 and writes to its file 4.
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = [
    "--headless",
    "--no-sandbox",  # needed by root; the pages are our own
    "--remote-debugging-pipe",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
]
TIMEOUT = 120.0  # seconds


class Page:
    """One page in a browser of its own; a context manager.

    Attributes:
        events: what the browser told, in order: (method, parameters).
    """

    def __init__(self, program: str, camera: Path, *flags: str):
        self.events: list[tuple[str, Any]] = []
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # The shell gives the pipes the numbers that the browser expects, which must be free before.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        flags = (
            *FLAGS,
            *flags,
            f"--use-file-for-fake-video-capture={camera}",
            f"--user-data-dir={self._profile.name}",
        )
        shell = ("bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash")
        self._process = subprocess.Popen(
            [*shell, program, *flags, "about:blank"],
            pass_fds=ends,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (commands, answers, *ends):
            os.close(end)
        self._buffer = b""
        self._calls = 0
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.allow_camera(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """Run JavaScript in the page, wait for what it promises, and return that as JSON."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = TIMEOUT) -> Any:
        """Wait until JavaScript gives something true, and return it."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(condition)):
            status = self.evaluate("document.getElementById('status')?.textContent")
            assert time.monotonic() < end, f"never true: {condition} (status: {status})"
            time.sleep(0.05)
        return value

    def allow_camera(self, allowed: bool) -> None:
        """Answer what the browser would ask the user."""
        setting = "granted" if allowed else "denied"
        self.call("Browser.setPermission", permission={"name": "camera"}, setting=setting)

    def open(self, url: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def told(self, method: str) -> list[Any]:
        """Return the parameters of every event of a kind so far."""
        return [parameters for name, parameters in self.events if name == method]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT)
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 16)
            assert data, "the browser has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append((message["method"], message.get("params")))
        return message
