"""How the commands about kept topics reach a broker: by TLS under another name, and again after a connection broke."""

from __future__ import annotations

import socket
import ssl
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from brokerkit.cli import kept_talk
from brokerkit.cli.http_line import TooLong
from brokerkit.cli.kept_talk import Address, Talk, Unreachable
from brokerkit.cli.trust import Trust
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Server:
    """Answers each connection once, and hangs up; ``asked`` are the requests."""

    def __init__(self, *answers: bytes, context: ssl.SSLContext | None = None) -> None:
        """Listen, and give those answers one after another."""
        self.asked: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._context = context
        Thread(target=self._serve, args=answers, daemon=True).start()

    def _serve(self, *answers: bytes) -> None:
        with self._listening:
            for answer in answers:
                try:
                    peer, _ = self._listening.accept()
                    peer.settimeout(10)
                    with self._context.wrap_socket(peer, server_side=True) if self._context else peer as peer:
                        self.asked.append(peer.recv(65536))
                        peer.sendall(answer)
                except OSError:
                    pass

    def talk(self, scheme: str = "http", trust: Trust | None = None) -> Talk:
        """Give somebody who talks to it."""
        return Talk(Address(scheme, "127.0.0.1", self.port, "", trust), 10.0)


def test_the_name_in_the_certificate(tmp_path: Path) -> None:
    """A broker that is reached by an address is taken for who it is by ``--tls-name``; under no other name."""
    authority = Authority(tmp_path)
    authority.issue("broker", alternatives=[x509.DNSName("broker.test")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "broker.crt", tmp_path / "broker.key")
    for name, reached in (("broker.test", True), ("", False), ("other.test", False)):
        talk = Server(ANSWER, context=context).talk("https", Trust(authority.path, name=name))
        if reached:
            assert talk.ask("GET", ("groups",)).see().json() == {}
        else:
            with pytest.raises(Unreachable, match="certificate is not accepted"):
                talk.ask("GET", ("groups",))
        talk.close()


def test_an_answer_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to its end, and said in one sentence."""
    monkeypatch.setattr("brokerkit.cli.http_line.LONGEST", 1)
    with pytest.raises(Unreachable, match="longer than 1 bytes"):
        Server(ANSWER).talk().ask("GET", ("groups",))
    assert issubclass(TooLong, kept_talk.BrokerError)


def test_a_connection_that_breaks_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be sent again is; what may have been done is not."""
    monkeypatch.setattr(kept_talk, "PAUSE", 0.0)
    server = Server(b"", ANSWER)
    assert server.talk().ask("GET", ("groups",), again=True).status == 200
    assert len(server.asked) == 2
    with pytest.raises(Unreachable):
        Server(b"", ANSWER).talk().ask("POST", ("groups",))
