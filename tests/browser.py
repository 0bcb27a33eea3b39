"""A headless Chromium that tests drive: real pointers, keys and screens, by its debugging pipe."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe"
KEYS = {"Enter": "\r", "Escape": "\x1b", "Tab": "\t"}


class Page:
    """A page in the browser, and what has been said on its console."""

    def __init__(self, answers: int, commands: int) -> None:
        self.answers, self.commands = os.fdopen(answers, "rb"), commands
        self.rest = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the Chrome DevTools protocol; gives its result."""
        self.number += 1
        command: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, event: str) -> None:
        """Wait until an event has come."""
        while all(seen.get("method") != event for seen in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            data = self.answers.read1(1 << 20)  # type: ignore[attr-defined]
            assert data, "the browser has gone"
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(
        self, path: Path | str, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Show a file, or an address, on a screen of a size; a narrow one is a telephone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events = []
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        self.wait("Page.loadEventFired")
        self.settle()

    def go_back(self) -> None:
        """Show the page before again, as it was left."""
        self.events = []
        self.run("history.back()")
        self.wait("Page.loadEventFired")
        self.settle()

    def settle(self) -> None:
        """Wait until what has been asked for is drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Value of an expression on the page, a promise awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def said(self) -> list[str]:
        """What the console has shown since the page was opened: messages, errors, refusals."""
        self.settle()
        shown = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event.get("method") in shown]

    def point(self, x: float, y: float, click: bool = False) -> None:
        """Move the mouse to a place of the screen, and click there."""
        for kind in ("mouseMoved", *(("mousePressed", "mouseReleased") if click else ())):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
        self.settle()

    def tap(self, x: float, y: float) -> None:
        """Touch a place of the screen."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def pinch(self, x: float, y: float, before: float, after: float) -> None:
        """Two fingers beside a place, each so far from it as before and then as after."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        for kind, apart in (("touchStart", before), ("touchMove", after)):
            fingers = [{"x": x + side * apart, "y": y, "id": side + 1} for side in (-1, 1)]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def press(self, key: str) -> None:
        """Press a key."""
        text = KEYS.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **typed)
        self.settle()

    def screenshot(self, whole: bool = False) -> bytes:
        """The screen as PNG; or all of the page."""
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return b64decode(result["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser for as long as the block runs.

    Args:
        profile: an empty folder, or one that is to be made.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("the tests of pages need chromium: apt-get install chromium")
    (asked, commands), (answers, answered) = os.pipe(), os.pipe()

    def bind() -> None:  # the browser reads from 3 and writes to 4
        for end, number in ((os.dup(asked), 3), (os.dup(answered), 4)):
            os.dup2(end, number)
            os.set_inheritable(number, True)

    process = subprocess.Popen(
        [program, *FLAGS.split(), f"--user-data-dir={profile}"],
        preexec_fn=bind,
        close_fds=False,
        stderr=subprocess.DEVNULL,
    )
    os.close(asked)
    os.close(answered)
    try:
        page = Page(answers, commands)
        yield page
        page.session = None
        page.call("Browser.close")
    finally:
        process.terminate()
        process.wait(timeout=30)
