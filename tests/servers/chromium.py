"""A browser without a window, and one page in it, spoken to by its own protocol over a pipe: nothing else is needed."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.programs import find

if TYPE_CHECKING:
    from typing import Self

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
SECONDS = 30.0
# It reads at 3 and writes to 4.
BEGIN = """
import os, sys
ends = [os.dup(int(one)) for one in sys.argv[1:3]]
while min(ends) < 5:
    ends = [os.dup(one) for one in ends]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """It runs while its block does; ``told`` is what it says by itself: errors, requests, refusals of its policy."""

    def __enter__(self) -> Self:
        """Start it, with a page that is empty."""
        program = next(filter(None, map(shutil.which, NAMES)), None) or find(NAMES[0])
        self._home = tempfile.TemporaryDirectory(prefix="brokerkit-", ignore_cleanup_errors=True)
        self._log = Path(self._home.name, "log")
        hears, says = os.pipe()
        tells, asks = os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={self._home.name}", "--remote-debugging-pipe", "about:blank"]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BEGIN, str(hears), str(asks), *command],
                pass_fds=(hears, asks),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        os.close(hears)
        os.close(asks)
        self._says = os.fdopen(says, "wb", buffering=0)
        self._tells = os.fdopen(tells, "rb")
        self._count = 0
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.told: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank", alone=True)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True, alone=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with all its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)
        self._says.close()
        self._tells.close()
        self._home.cleanup()

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._tells.fileno(), 65536):
            *whole, rest = (rest + data).split(b"\0")
            for one in whole:
                told = json.loads(one)
                if "id" in told:
                    self._answers.put(told)
                else:
                    self.told.append(told)
        self._answers.put(None)

    def call(self, method: str, *, alone: bool = False, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something, and give what it answers; ``alone``: not about the page."""
        self._count += 1
        asked = {"id": self._count, "method": method, "params": parameters}
        if not alone:
            asked["sessionId"] = self._session
        self._says.write(json.dumps(asked).encode() + b"\0")
        answer = self._answers.get(timeout=SECONDS)
        assert answer is not None, f"it has ended:\n{self._log.read_text(errors='replace')[-3000:]}"
        assert answer["id"] == self._count
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    # -- the page -----------------------------------------------------------------------------------------------------

    def go(self, address: str) -> None:
        """Have it show that address."""
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """Give what an expression is in the page, or what it comes to be, if it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true in the page, and give what it is."""
        end = time.monotonic() + seconds
        tried = f"const found = {expression}; return found instanceof Node ? true : found;"
        while not (found := self.value(f"(() => {{ try {{ {tried} }} catch {{ return null; }} }})()")):
            assert time.monotonic() < end, (
                f"{expression} did not come true in:\n{self.text()[:3000]}\n{self.complaints()}"
            )
            time.sleep(0.05)
        return found

    def text(self) -> str:
        """Give what is to be read in the page."""
        return str(self.value("document.body.innerText"))

    def click(self, selector: str) -> None:
        """Click on the first element of that kind, when there is one."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Write a text into a field, as by hand."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select?.(); }})()"
        )
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key: a letter, or the name of a key."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **more)

    # -- what it says -------------------------------------------------------------------------------------------------

    def complaints(self) -> list[str]:
        """Give the errors of the page: exceptions, and what its policy has refused."""
        found = []
        for one in list(self.told):
            parameters = one.get("params", {})
            if one["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif one["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return found

    def hosts(self) -> set[str]:
        """Give the hosts that the page has asked."""
        sent = [
            one["params"]["request"]["url"] for one in list(self.told) if one["method"] == "Network.requestWillBeSent"
        ]
        return {url.split("/")[2] for url in sent if "://" in url and not url.startswith(("about:", "data:"))}
