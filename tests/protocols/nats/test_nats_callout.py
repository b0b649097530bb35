"""Logins about which somebody else decides: what is asked, what is believed, and what happens if nobody answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_sources
from brokerkit.config import structure
from brokerkit.errors import ConfigError
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker

from .callouts import ISSUER, LOGINS, PONG, REFUSED, SUBJECT, Asked, answered, body

if TYPE_CHECKING:
    from brokerkit.run import Batch
    from brokerkit.testing import Peer


class Delegating(MemoryBroker):
    """A broker where somebody else decides; ``requests`` are what was asked."""

    def __init__(self, *, answers: bool = True) -> None:
        """Have it asked in the program itself."""
        reactor = MemoryReactorClock()
        reactor.rightNow = 1000.0
        source = f"callout:{ISSUER.public}?users=auth"
        super().__init__(users={"auth": "s3cret"}, auth=(source,), reactor=reactor)
        self.requests: list[bytes] = []
        self.answers = answers
        self.service = self.local("service")
        self.service.subscribe(SUBJECT, self._asked)

    def _asked(self, batch: Batch) -> None:
        for message in batch:
            self.requests.append(message.payload)
            if self.answers:
                self.service.publish(message.reply, answered(message.payload))

    def try_(self, user: str, secret: str = "hush") -> Peer:
        """Connect as a user."""
        peer = self.connect("nats")
        peer.take()
        peer.send(connecting(user, secret))
        self.advance()
        return peer


def connecting(user: str, secret: str = "hush") -> bytes:
    """Give what a user sends."""
    said = {"verbose": False, "pedantic": False, "user": user, "pass": secret, "name": "program", "lang": "x"}
    return b"CONNECT %b\r\nPING\r\n" % json.dumps(said).encode()


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.user)
def test_logins(login: Asked) -> None:
    """Whom the answer lets in comes in; an answer of another, for another, or too late counts for nothing."""
    assert Delegating().try_(login.user).take() == (PONG if login.accepted else REFUSED)


def test_rights() -> None:
    """What the answer says of rights is true."""
    peer = Delegating().try_("limited")
    peer.take()
    peer.send(b"PUB a 0\r\n\r\nPUB b 0\r\n\r\n")
    assert peer.take() == b"-ERR 'Permissions Violation for Publish to \"b\"'\r\n"


def test_what_is_asked() -> None:
    """The request says who wants what, signed by the broker that INFO names, and is for this login alone."""
    memory = Delegating()
    peer = memory.connect("nats")
    server = json.loads(peer.take().removeprefix(b"INFO "))["server_id"]
    peer.send(connecting("good"))
    memory.try_("good")
    first, second = (body(request.decode()) for request in memory.requests)
    assert first["iss"] == first["nats"]["server_id"]["id"] == server
    assert first["aud"] == "nats-authorization-request"
    assert first["nats"]["user_nkey"] != second["nats"]["user_nkey"]
    options = first["nats"]["connect_opts"]
    assert (options["user"], options["pass"], options["name"], options["lang"]) == ("good", "hush", "program", "x")
    assert first["nats"]["client_info"]["host"] == "192.0.2.1"


def test_who_is_not_asked_about() -> None:
    """Those who answer are looked up here, and not asked about; their secret counts."""
    memory = Delegating()
    assert memory.try_("auth", "s3cret").take() == PONG
    assert memory.try_("auth", "wrong").take() == REFUSED
    assert memory.requests == []


def test_no_answer() -> None:
    """Without an answer in time nothing is said of the credentials, and who comes later is asked about again."""
    memory = Delegating(answers=False)
    peer = memory.try_("good")
    assert not peer.closed
    memory.advance(1.45)
    assert peer.take() == b""
    assert peer.closed
    memory.answers = True
    assert memory.try_("good").take() == PONG


def test_nobody_listens() -> None:
    """Where nobody listens there is no waiting."""
    memory = Delegating()
    memory.service.leave()
    assert memory.try_("good").closed


def test_an_answer_out_of_the_blue() -> None:
    """An answer to nothing, or a second one, does nothing."""
    memory = Delegating(answers=False)
    peer = memory.try_("good")
    [request] = memory.requests
    memory.service.publish(b"$SYS._INBOX.x.1", answered(request))
    assert peer.take() == b""


def test_the_end() -> None:
    """A broker that stops lets nobody wait."""
    memory = Delegating(answers=False)
    peer = memory.try_("good")
    memory.broker.stopService()
    memory.advance(5)
    assert peer.closed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("callout:", "expected callout:ISSUER?users="),
        (f"callout:{ISSUER.public}", "those who answer have to get in themselves"),
        ("callout:A?users=x", "found 'A', expected the public nkey"),
        (f"callout:{ISSUER.public}?user=x", "expected one of users, account"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    """A mistake is one line."""
    config: Any = structure({"auth": [text]}, protocols(), "test.toml")
    with pytest.raises(ConfigError) as caught:
        make_sources(config, None)
    assert words in str(caught.value)
