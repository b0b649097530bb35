"""The NATS client for Python on endpoints with TLS: after INFO, first, either, and beside plain text."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest
from cryptography import x509

from tests.certificates import Authority, client_context

from .conftest import ROOT, Broker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAYS = {
    "after-info": 'handshake = "after-info"',
    "first": 'handshake = "first"',
    "auto": 'handshake = "auto"',
    "mixed": "plain = true",
    "nameless": "#",
    "certificates": 'client_ca = "authority.crt"\ncertificate_user = "cn"',
}
FIRST = {"tls_handshake_first": True}
LISTEN = """
[[listen]]
protocol = "nats"
endpoint = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
"""
HPFEEDS = """
[[listen]]
protocol = "hpfeeds"
endpoint = "tcp:port=0:interface=127.0.0.1"
"""


class TLSBroker(Broker):
    """A broker with a NATS listener for each way in which TLS can begin; ``at`` are their ports."""

    def __init__(self, home: Path) -> None:
        """Make the certificates and the configuration."""
        super().__init__(home)
        self.authority = Authority(home)
        self.authority.issue("server", "server", [x509.DNSName("server")])
        self.authority.issue("nameless", "server")
        self.authority.issue("alice", "alice")
        tables = [LISTEN + keys for keys in WAYS.values()]
        tables[list(WAYS).index("nameless")] = LISTEN.replace("server.", "nameless.")
        (home / "broker.toml").write_text("\n".join(['auth = "json:users.json"', *tables, HPFEEDS]))

    @property
    def at(self) -> dict[str, int]:
        """Give the ports, by way."""
        return dict(zip(WAYS, map(int, re.findall(r" nats listening on \S+:(\d+)", self.output())), strict=True))

    def _listeners(self) -> list[str]:
        return ["--config", "broker.toml"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSBroker]:
    """Run it for the tests of this module."""
    running = TLSBroker(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


async def connect(broker: TLSBroker, way: str, shown: str = "", **options: Any) -> nats.NATS:
    """Connect as alice, with TLS."""
    given = {"tls": client_context(broker.authority, shown), "user": "alice", "password": "secret", **options}
    limits = {"allow_reconnect": False, "max_reconnect_attempts": 0, "connect_timeout": 10}
    return await nats.connect(f"nats://127.0.0.1:{broker.at[way]}", **limits, **given)


@pytest.mark.parametrize(
    ("way", "options"),
    [("after-info", {}), ("first", FIRST), ("auto", {}), ("auto", FIRST), ("mixed", {}), ("mixed", {"tls": None})],
)
async def test_publish_and_subscribe(broker: TLSBroker, way: str, options: dict[str, Any]) -> None:
    """A client that connects in one of the ways of its listener is served, also with a payload of many records."""
    async with await connect(broker, way, **options) as client:
        subscription = await client.subscribe("by.tls")
        for payload in (b"hello", b"x" * 1_000_000, b""):
            await client.publish("by.tls", payload)
            assert (await subscription.next_msg(timeout=10)).data == payload


async def test_with_a_certificate(broker: TLSBroker) -> None:
    """After INFO, too, a certificate is a login."""
    async with await connect(broker, "certificates", "alice", user=None, password=None) as client:
        assert client.is_connected


@pytest.mark.parametrize(
    ("way", "options"),
    [("after-info", FIRST), ("after-info", {"tls": None}), ("certificates", {})],
)
async def test_refused(broker: TLSBroker, way: str, options: dict[str, Any]) -> None:
    """A client that begins in another way, does not trust the broker or has no certificate does not get in."""
    with pytest.raises((nats.errors.Error, OSError, TimeoutError)):
        await connect(broker, way, **options)


# -- our own client -------------------------------------------------------------------------------------------------


def command(broker: TLSBroker, way: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``brokerkit pub`` as alice."""
    server = f"nats://alice:secret@127.0.0.1:{broker.at[way]}"
    return subprocess.run(
        [sys.executable, "-m", "brokerkit", "pub", "--server", server, *words, "by.command", "hello"],
        cwd=broker.home,
        env=broker._environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


TRUSTED = ("--ca", "authority.crt", "--tls-name", "server")


@pytest.mark.parametrize("way", ["after-info", "first", "auto", "mixed"])
def test_command(broker: TLSBroker, way: str) -> None:
    """``brokerkit pub`` begins TLS in whichever way the broker does."""
    done = command(broker, way, *TRUSTED)
    assert (done.returncode, done.stderr) == (0, "by.command: 5 bytes\n")


def test_command_without_flags(broker: TLSBroker) -> None:
    """Without a flag it talks plain text where it may, and else trusts nobody whom the system does not trust."""
    assert command(broker, "mixed").returncode == 0
    done = command(broker, "after-info")
    assert done.returncode == 3
    assert "TLS failed" in done.stderr
    assert "--ca" in done.stderr


@pytest.mark.parametrize(
    ("way", "name", "why"),
    [("after-info", "other", "is not for that name"), ("nameless", "server", "names no host")],
)
def test_command_looks_at_the_name(broker: TLSBroker, way: str, name: str, why: str) -> None:
    """A certificate for another name, or for none, is not trusted."""
    done = command(broker, way, "--ca", "authority.crt", "--tls-name", name)
    assert done.returncode == 3
    assert f"its certificate {why}" in done.stderr


def test_command_wants_tls(broker: TLSBroker, tmp_path: Path) -> None:
    """With a flag of TLS it does not log in where there is none."""
    plain = Broker(tmp_path)
    plain.start()
    try:
        words = ["--server", f"nats://alice:secret@127.0.0.1:{plain.ports['nats']}", "--tls", "a.b", "hello"]
        done = subprocess.run(
            [sys.executable, "-m", "brokerkit", "pub", *words],
            env={**broker._environment(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        plain.stop()
    assert done.returncode == 3
    assert "it offers no TLS there" in done.stderr
