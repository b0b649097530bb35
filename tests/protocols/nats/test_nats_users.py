"""Users of a configuration by NATS: rights to answer and queues, hashed tokens, who comes in without a word."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker, make_sources
from brokerkit.checkers.first_match import FirstMatch
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.config import structure
from brokerkit.credentials import Token
from brokerkit.errors import ConfigError
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker
from brokerkit.testing.memory import streams

from .words import REFUSED

BCRYPT = "$2b$04$z5lzVpvilgfxL85jtt2b0eF3lQAYzLF1xIpDnnRwmJozOMTDyPwiy"


def broker(users: list[dict[str, Any]], nats: dict[str, Any] | None = None, **others: Any) -> MemoryBroker:
    """Give a broker with users as they stand in a file."""
    plugins = streams()
    config = structure({"users": users, **others}, plugins, "test.toml")
    return MemoryBroker(users={}, sources=make_sources(config, None), settings={"nats": nats or {}}, plugins=plugins)


def talk(memory: MemoryBroker, login: bytes, said: bytes = b"") -> bytes:
    """Log in and say something; give the answer."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(b'CONNECT {"verbose":false,"pedantic":false%b}\r\n' % login, said, b"PING\r\n")
    memory.advance()
    return peer.take()


ANN = b',"user":"ann","pass":"x"'
RIGHTS = {"name": "ann", "secret": "x", "publish": ["rq"], "subscribe": ["rq workers", "a.>"]}


def test_queues() -> None:
    """An entry with a queue allows members of that queue, and nobody else."""
    said = b"SUB rq workers 1\r\nSUB rq 2\r\nSUB rq others 3\r\n"
    assert talk(broker([RIGHTS]), ANN, said) == (
        b"-ERR 'Permissions Violation for Subscription to \"rq\"'\r\n"
        b'-ERR \'Permissions Violation for Subscription to "rq" using queue "others"\'\r\nPONG\r\n'
    )


@pytest.mark.parametrize(("right", "answers"), [(True, 1), ({"max": 2}, 2), ({"max": 0, "expires": 0}, 5), (False, 0)])
def test_answers(right: object, answers: int) -> None:
    """The right to answer is for so many answers; without it there is none."""
    said = b"SUB rq workers 1\r\nPUB rq r 0\r\n\r\n" + b"PUB r 0\r\n\r\n" * 5
    heard = talk(broker([{**RIGHTS, "allow_responses": right}]), ANN, said)
    assert heard.count(b"Permissions Violation for Publish to") == 5 - answers


def test_default_rights() -> None:
    """Rights of the file are those of all users who have none of their own, and of nobody else."""
    users = [{"name": "ann", "secret": "x"}, {"name": "bob", "secret": "x", "publish": ["b"]}]
    memory = broker(users, default_permissions={"publish": ["a"]})
    said = b"PUB a 0\r\n\r\nPUB b 0\r\n\r\n"
    refused = b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\nPONG\r\n"
    assert talk(memory, ANN, said) == refused % b"b"
    assert talk(memory, b',"user":"bob","pass":"x"', said) == refused % b"a"


@pytest.mark.parametrize("login", [b"", b',"name":"program"'])
def test_who_says_nothing(login: bytes) -> None:
    """Whoever gives no credentials is the user that the listener names, with that user's rights."""
    memory = broker([RIGHTS], {"no_auth_user": "ann"})
    peer = memory.connect("nats")
    assert b"auth_required" not in peer.take()
    assert b'Publish to "other"' in talk(memory, login, b"PUB other 0\r\n\r\n")


def test_who_says_nothing_at_all() -> None:
    """Without any CONNECT one is that user, too."""
    peer = broker([RIGHTS], {"no_auth_user": "ann"}).connect("nats")
    peer.take()
    peer.send(b"PUB other 0\r\n\r\n")
    assert b'Publish to "other"' in peer.take()


@pytest.mark.parametrize("login", [b',"user":"ann","pass":"y"', b',"auth_token":"ann"', b',"user":"ann"'])
def test_who_says_something_wrong(login: bytes) -> None:
    """Wrong credentials are refused, whoever may come in without any."""
    assert talk(broker([RIGHTS], {"no_auth_user": "ann"}), login) == REFUSED


def test_nobody_of_that_name() -> None:
    """A name that nobody has lets nobody in."""
    assert talk(broker([RIGHTS], {"no_auth_user": "nobody"}), b"") == REFUSED


def test_nobody_of_that_name_in_the_file() -> None:
    """Where all users stand in the file, a name of none of them is a mistake that ends the start."""
    listen = [{"protocol": "nats", "endpoint": "tcp:port=4222", "no_auth_user": "an"}]
    config = structure({"users": [RIGHTS], "listen": listen}, protocols(), "test.toml")
    with pytest.raises(ConfigError, match=r"test.toml: listen\[0\]: no_auth_user: found 'an'"):
        make_broker(config, MemoryReactorClock())


def test_the_other_listeners() -> None:
    """What one listener says of those without credentials is not true at another one."""
    memory = broker([RIGHTS], {"no_auth_user": "ann"})
    peer = memory.connect("nats-websocket") if "nats-websocket" in memory.plugins else memory.connect("hpfeeds")
    memory.advance(30)
    assert peer.closed
    assert not memory.broker.realm.clients


@pytest.mark.parametrize(
    ("allowed", "login", "comes"),
    [(["nats"], ANN, True), (["nats-websocket"], ANN, False), (["nats", "hpfeeds"], ANN, True)],
)
def test_protocols(allowed: list[str], login: bytes, comes: bool) -> None:
    """A user with a list of protocols comes by these, and by no others."""
    memory = broker([{**RIGHTS, "protocols": allowed}])
    assert talk(memory, login) == (b"PONG\r\n" if comes else REFUSED)


@pytest.mark.parametrize(("token", "name"), [(b"hush", b"ann"), (b"plain", b"bob"), (b"other", b"carl"), (b"x", None)])
def test_hashed_tokens(token: bytes, name: bytes | None) -> None:
    """A token is the user's whose hash it fits; one that fits no hash may be a later source's."""
    users = [{"name": "ann", "token_hash": BCRYPT}, {"name": "bob", "token": "plain"}]
    config = structure({"users": users}, protocols(), "test.toml")
    checker = FirstMatch([*make_sources(config, None), MemoryUsers({"carl": ""}, tokens={"carl": "other"})], Clock())
    found: list[Any] = []
    checker.requestAvatarId(Token(token)).addCallbacks(found.append, found.append)
    assert getattr(found[0], "name", None) == name
    assert name is not None or found[0].check(UnauthorizedLogin)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"allow_responses": 5}, "users[0].allow_responses: found a number, expected true, or a table"),
        ({"allow_responses": {"most": 5}}, "users[0].allow_responses.most: found an unknown key"),
        ({"allow_responses": {"max": -1}}, "users[0].allow_responses.max: found -1"),
        ({"allow_responses": {"expires": "1m"}}, "users[0].allow_responses.expires: found a string"),
        ({"subscribe": ["a b c"]}, "users[0].subscribe[0]: found 'a b c', expected a pattern such as a.>"),
        ({"subscribe": ["a..b q"]}, "users[0].subscribe[0]: found 'a..b'"),
        ({"protocols": "nats"}, "users[0].protocols: found a string, expected a list"),
        ({"token_hash": "hush"}, "users[0].token_hash: found something else"),
        ({"token": "t", "token_hash": BCRYPT}, "users[0].token_hash: found one beside a token"),
    ],
)
def test_mistakes(user: dict[str, Any], words: str) -> None:
    """A mistake is one line with file, key, what was found and what was expected."""
    with pytest.raises(ConfigError) as caught:
        broker([{"name": "ann", "secret": "x", **user}])
    assert str(caught.value).startswith(f"test.toml: {words}")
    assert "hush" not in str(caught.value)


def test_mistakes_in_default_rights() -> None:
    """The default rights have rights in them, and nothing else."""
    with pytest.raises(ConfigError, match=r"default_permissions.secret: found an unknown key"):
        broker([RIGHTS], default_permissions={"secret": "x"})


def test_one_hash_of_a_token() -> None:
    """Two users with hashes of tokens are refused: each would have to be tried for each token."""
    users = [{"name": name, "token_hash": BCRYPT} for name in ("ann", "bob")]
    with pytest.raises(ConfigError, match=r"users\[1\].token_hash: found a second one"):
        broker(users)
