"""A service registry in a process of its own, the client's commands in this one, and a broker as the original is."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.cli.commands import Done, brokerkit
from tests.test_program import PATIENCE, Running, command, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class World:
    """A registry that runs, and somebody who talks to it."""

    def __init__(self, place: Path, program: Running) -> None:
        """Take the directory that everything is in."""
        self.place = place
        self.program = program
        self.config = place / "bpbroker.json"
        self.data = place / "bpbroker.json.data"
        self.address = "{}:{}".format(*program.addresses["bpbroker"])

    @property
    def port(self) -> str:
        """Where it listens."""
        return self.address.rpartition(":")[2]

    def client(self, *words: str, name: str = "bpclient", **environment: str) -> Done:
        """Run a command of the client."""
        return brokerkit(self.place, name, *words, **{"BPBROKER": self.address, **environment})

    def get(self, name: str) -> Done:
        """Show an entry."""
        return self.client("service", "get", "--name", name)

    def replace(self, name: str, data: str) -> Done:
        """Write an entry."""
        return self.client("service", "replace", "--name", name, "--data", data)


@contextmanager
def registry(place: Path, *words: str) -> Iterator[World]:
    """Run one whose configuration is ``bpbroker.json`` there."""
    line = command("bpbroker", "--config", str(place / "bpbroker.json"), "start", "--port", "0", "--ip", "127.0.0.1")
    with running(place, [*line, *words]) as program:
        yield World(place, program)


class Original:
    """A broker of the original, as far as a client sees it: HTTP/1.0, an end without a word of TLS, errors in HTML.

    ``key`` is the access key of everything; ``heard`` are the requests, each with its target, headers and parameters.
    """

    def __init__(self, cert: Path, key: str = "") -> None:
        """Listen with the certificate ``CERT.crt`` and its key ``CERT.key``."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(f"{cert}.crt", f"{cert}.key")
        self._key = key
        self._services: dict[str, dict[str, Any]] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self.replies: dict[str, tuple[str, str]] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._server.accept()
            except OSError:
                return
            plain.settimeout(PATIENCE)
            try:
                secure = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()
                continue
            with suppress(OSError):
                self._answer(secure)
            # Away with the socket, without the farewell of TLS.
            plain = socket.socket(fileno=secure.detach())
            plain.close()

    def _answer(self, secure: ssl.SSLSocket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (chunk := secure.recv(65536)):
                return
            request += chunk
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        while len(body) < int(headers.get("content-length", "0")):
            body += secure.recv(65536)
        target = lines[0].split(" ")[1]
        path, _, query = target.partition("?")
        said = dict(parse_qsl(query)) or dict(parse_qsl(body.decode(), keep_blank_values=True))
        self.heard.append((target, head.decode("latin-1"), said))
        status, content = self._reply(path, said)
        kind = "Application/json" if status.startswith("200") else "text/html"
        server = "Server: BaseHTTP/0.3 Python/2.7.18"
        secure.sendall(f"HTTP/1.0 {status}\r\n{server}\r\nContent-Type: {kind}\r\n\r\n{content}".encode())

    def _reply(self, path: str, said: dict[str, str]) -> tuple[str, str]:
        if self._key and said.get("access_key") != self._key:
            return "401 Incorrect access key", "<html>Incorrect access key</html>"
        return self.replies.get(path, ("401 Unauthorized package", "<html>Unauthorized package</html>"))
