"""The access keys of a bpbroker.json: users of a source like any other, each good for its sections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker, make_sources
from brokerkit.config import structure
from brokerkit.credentials import AnonymousRequest, Token
from brokerkit.errors import ConfigError
from brokerkit.plugin import protocols
from brokerkit.protocols.bpbroker.call import EXECUTE
from brokerkit.protocols.bpbroker.keys import AccessKeys
from brokerkit.realm import Mind
from brokerkit.registry.access import READ, WRITE
from brokerkit.registry.naming import topic

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.client import Client

SERVICES = {"_access_key": "s3rvices"}
DOCUMENT = {"services": SERVICES, "ping": {}, "ossec": {"_access_key": "oss"}, "echo": {}}


def _may(grants: Any) -> dict[str, bool]:
    return {
        "read": grants.permits(READ, topic("a.b")),
        "write": grants.permits(WRITE, topic("a.b")),
        "ping": grants.permits(EXECUTE, b"ping.Ping"),
        "ossec": grants.permits(EXECUTE, b"ossec.AddAgent"),
        "echo": grants.permits(EXECUTE, b"echo.Test"),
    }


def _what(**allowed: bool) -> dict[str, bool]:
    return dict.fromkeys(("read", "write", "ping", "ossec", "echo"), False) | allowed


def _log_in(keys: AccessKeys, credentials: Any) -> Any:
    return keys.requestAvatarId(credentials).grants


def test_a_key_is_good_for_its_section_and_for_what_is_open() -> None:
    """As with the original: a key on one section does not guard another, and whoever shows it may call what is open."""
    keys = AccessKeys("f", DOCUMENT, opens=True)
    open_ = {"ping": True, "echo": True}
    assert _may(_log_in(keys, Token(b"s3rvices"))) == _what(read=True, write=True, **open_)
    assert _may(_log_in(keys, Token(b"oss"))) == _what(ossec=True, **open_)
    assert _may(_log_in(keys, AnonymousRequest())) == _what(**open_)


def test_beside_other_sources_nothing_is_open() -> None:
    """Where other users are configured, a section without a key is not everybody's."""
    keys = AccessKeys("f", DOCUMENT, opens=False)
    assert _may(_log_in(keys, Token(b"oss"))) == _what(ossec=True)
    assert keys.credentialInterfaces == AccessKeys("f", {"services": SERVICES}, opens=False).credentialInterfaces
    with pytest.raises(UnauthorizedLogin):
        keys.requestAvatarId(AnonymousRequest())


def test_one_key_for_several_sections() -> None:
    """It is one user, who may do what each of the sections stands for."""
    keys = AccessKeys("f", {"services": SERVICES, "echo": SERVICES}, opens=False)
    assert _may(_log_in(keys, Token(b"s3rvices"))) == _what(read=True, write=True, echo=True)
    assert keys.names() == [b"key of echo, services"]


@pytest.mark.parametrize("key", ["", None])
def test_an_empty_key_is_none(key: Any) -> None:
    """What the original takes for no key is none: the section is open, and nobody logs in with nothing."""
    keys = AccessKeys("f", {"services": {"_access_key": key}}, opens=True)
    assert _may(_log_in(keys, AnonymousRequest()))["write"]
    with pytest.raises(UnauthorizedLogin):
        keys.requestAvatarId(Token(b""))


def test_a_wrong_key_is_nobodys() -> None:
    """Neither is a part of one."""
    keys = AccessKeys("f", DOCUMENT, opens=True)
    for wrong in (b"s3rvice", b"s3rvices ", b"", b"\xff"):
        with pytest.raises(UnauthorizedLogin):
            keys.requestAvatarId(Token(wrong))


def test_a_section_is_no_pattern() -> None:
    """A section whose name looks like a pattern is good for its own methods only."""
    keys = AccessKeys("f", {"services": SERVICES, "*": {"_access_key": "star"}}, opens=False)
    grants = _log_in(keys, Token(b"star"))
    assert grants.permits(EXECUTE, b"*.Method")
    assert not grants.permits(EXECUTE, b"echo.Method")


def test_a_key_that_is_no_text() -> None:
    """It is refused at the start, and the message does not repeat it."""
    with pytest.raises(ConfigError, match=r"f: services\._access_key: found something else, expected a string"):
        AccessKeys("f", {"services": {"_access_key": 12345}}, opens=True)


def test_keys_are_not_shown() -> None:
    """No repr of what is known holds a key."""
    keys = AccessKeys("f", DOCUMENT, opens=True)
    assert "s3rvices" not in repr(keys.find(Token(b"s3rvices")))
    assert "s3rvices" not in repr(vars(keys))


# -- in a broker ------------------------------------------------------------------------------------------------------


def _config(folder: Path, document: dict[str, Any], **more: Any) -> Any:
    file = folder / "bpbroker.json"
    file.write_text(json.dumps(document))
    listen = {"protocol": "bpbroker", "endpoint": "tcp:port=1", "plain": True, "discovery": False, "config": str(file)}
    return structure({"listen": [listen], **more}, protocols(), "test")


def test_the_listener_that_names_the_file_brings_its_keys(tmp_path: Path) -> None:
    """They need not be named again under ``auth``; and with no other source the file says who may come in."""
    broker = make_broker(_config(tmp_path, DOCUMENT), MemoryReactorClock())
    assert broker.admits_requests
    assert not broker.admits_anonymous, "NATS and hpfeeds are not open because a registry is"
    found: list[Client] = []
    broker.login(Token(b"s3rvices"), Mind(address="192.0.2.1")).addCallback(found.append)
    assert found[0].grants.permits(WRITE, topic("x"))


def test_beside_users_the_file_opens_nothing(tmp_path: Path) -> None:
    """With users in the configuration, its sections without a key are not open."""
    user = {"name": "ann", "token": "ann's", "registry_read": ["*"]}
    sources = make_sources(_config(tmp_path, {"services": {}}, users=[user]), MemoryReactorClock())
    assert [type(source).__name__ for source in sources] == ["ListedUsers", "KeysFile"]
    assert not any(AnonymousRequest in source.credentialInterfaces for source in sources)
    with pytest.raises(UnauthorizedLogin):
        sources[1].requestAvatarId(AnonymousRequest())


def test_two_listeners_with_one_file(tmp_path: Path) -> None:
    """Its keys are one source."""
    config = _config(tmp_path, DOCUMENT)
    twice = structure({"listen": []}, protocols(), "test").__class__(listen=config.listen * 2)
    assert len(make_sources(twice, MemoryReactorClock())) == 1


def test_failed_keys_are_throttled(tmp_path: Path) -> None:
    """After a hundred wrong keys from one address the next is not looked up; another address is not hindered."""
    broker = make_broker(_config(tmp_path, {"services": SERVICES, "ping": SERVICES}), MemoryReactorClock())
    errors: list[str] = []

    def try_(address: str, key: bytes) -> None:
        login = broker.login(Token(key), Mind(address=address))
        login.addCallbacks(lambda _: errors.append("in"), lambda failure: errors.append(failure.type.__name__))

    for number in range(110):
        try_("192.0.2.1", b"wrong %d" % number)
    assert errors[-1] == "Throttled"
    try_("192.0.2.1", b"s3rvices")
    try_("192.0.2.2", b"s3rvices")
    assert errors[-2:] == ["Throttled", "in"]


def test_a_key_is_no_password(tmp_path: Path) -> None:
    """It stands alone: as the password of its user it opens nothing."""
    broker = make_broker(_config(tmp_path, {"services": SERVICES, "ping": SERVICES}), MemoryReactorClock())
    failed: list[Any] = []
    broker.login(UsernamePassword(b"key of ping, services", b"s3rvices"), Mind()).addErrback(failed.append)
    assert failed
