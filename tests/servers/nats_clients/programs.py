"""The programs with the clients of others: each says by lines of JSON what it saw of a broker.

``make nats-clients`` builds them into the environment.  A line ``{"behaviour": ..., "seen": ...}`` or ``{"behaviour":
..., "failed": ...}`` is an answer; ``{"wants": ...}`` asks for something to happen and waits for a line; ``{"end":
true}`` is the last one.
"""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.programs import find, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.nats_clients.brokers import Broker

    Told = dict[str, Any]

BUILT = Path(os.environ.get("BROKERKIT_NATS_CLIENTS") or Path(sys.executable).parents[1] / "nats-clients")
SECONDS = 240  # for all behaviours of one client
PAGE = b"<!doctype html><meta charset=utf-8><title>tests</title><script type=module src=/page.js></script>"


def built(name: str) -> str:
    """Give the path of what was built; skip if it was not."""
    path = BUILT / name
    if not path.exists():
        missing(f"{path} is not there: make nats-clients")
    return str(path)


def go(broker: Broker, config: Told) -> list[Told]:
    """Run the Go client."""
    return _by_lines([built("go-client")], broker, config)


def node(broker: Broker, config: Told) -> list[Told]:
    """Run the JavaScript client in Node."""
    return _by_lines([find("node"), built("node.cjs")], broker, config)


def chromium(broker: Broker, config: Told) -> list[Told]:
    """Run the JavaScript client in a page of a browser without a window."""
    script = Path(built("page.js")).read_bytes()
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None) or find(names[0])
    lines: queue.Queue[Told | None] = queue.Queue()
    site = ThreadingHTTPServer(("127.0.0.1", 0), _visitor(config, script, broker, lines.put))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--no-first-run"]
    with tempfile.TemporaryDirectory(prefix="brokerkit-", ignore_cleanup_errors=True) as profile:
        command = [program, *flags, f"--user-data-dir={profile}", f"http://127.0.0.1:{site.server_port}/"]
        log = Path(profile, "log")
        with log.open("wb") as output:
            browser = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            return _until_the_end(lines, log)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)  # all of it: Debian's program is a script that starts the browser
            browser.wait(SECONDS)
            site.shutdown()
            site.server_close()


def _by_lines(command: list[str], broker: Broker, config: Told) -> list[Told]:
    lines: queue.Queue[Told | None] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="brokerkit-") as home:
        log, authority = Path(home, "log"), Path(home, "authority.crt")
        authority.write_text(config["ca"])
        environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(authority)} if config["transport"] != "tcp" else None
        with log.open("wb") as errors:
            program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
            )
        assert program.stdin is not None
        assert program.stdout is not None
        say = program.stdin

        def answer(told: Told) -> None:
            say.write(json.dumps(told) + "\n")
            say.flush()

        def read() -> None:
            assert program.stdout is not None
            for line in program.stdout:
                told = json.loads(line)
                if "wants" in told:
                    answer(broker.do(told))
                else:
                    lines.put(told)
            lines.put(None)

        try:
            answer(config)
            threading.Thread(target=read, daemon=True).start()
            return _until_the_end(lines, log)
        finally:
            program.kill()
            program.wait()


def _until_the_end(lines: queue.Queue[Told | None], log: Path) -> list[Told]:
    heard: list[Told] = []
    try:
        while (line := lines.get(timeout=SECONDS)) is not None and "end" not in line:
            heard.append(line)
    except queue.Empty:
        line = None
    assert line is not None, f"it ended after {heard[-1:]}; it said:\n{log.read_text(errors='replace')[-4000:]}"
    return heard


def _visitor(
    config: Told, script: bytes, broker: Broker, heard: Callable[[Told], None]
) -> type[BaseHTTPRequestHandler]:
    files = {
        "/": ("text/html", PAGE),
        "/page.js": ("text/javascript", script),
        "/config": ("application/json", json.dumps(config).encode()),
    }

    class Visitor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*files.get(self.path, ("text/plain", b"")))

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: Told = {}
            if "wants" in told:
                answer = broker.do(told)
            else:
                heard(told)
            self._answer("application/json", json.dumps(answer).encode())

        def _answer(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Visitor
