"""Clients that others wrote log in with a certificate, or with an nkey, over TLS of the operating system's sockets."""

from __future__ import annotations

import asyncio
import base64
import binascii
import signal
import ssl
import time
from typing import TYPE_CHECKING

import nats
import nats.errors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hpfeeds.asyncio import ClientSession

from tests.certificates import Authority, client_context

from .conftest import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED = b"a seed that is no secret at all."
CONFIGURATION = """
auth = "json:users.json"

[[listen]]
protocol = "nats"
endpoint = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
handshake = "auto"
client_ca = "authority.crt"
client_certificate = "optional"
certificate_user = "cn"
certificate_pattern = '(.+)\\.sensors'

[[listen]]
protocol = "hpfeeds"
endpoint = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
client_ca = "authority.crt"
certificate_user = "cn"
certificate_pattern = '(.+)\\.sensors'

[[users]]
name = "holder"
nkey = "NKEY"
publish = [">"]
subscribe = [">"]
"""


def spell(prefix: bytes, content: bytes) -> str:
    """Write a key as NATS does."""
    body = prefix + content
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode()


class TLSBroker(Broker):
    """A broker that is told by a file to ask for certificates."""

    def __init__(self, home: Path) -> None:
        """Make the certificates and the file."""
        super().__init__(home)
        self.authority = Authority(home)
        self.authority.issue("server", "server")
        self.authority.issue("alice", "alice.sensors")
        self.authority.issue("sensor", "sensor.sensors")
        self.authority.issue("other", "alice.others")
        Authority(home, "stranger").issue("forged", "alice.sensors")
        public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
        (home / "broker.toml").write_text(CONFIGURATION.replace("NKEY", spell(b"\xa0", public)))
        (home / "broker.toml").chmod(0o600)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def _listeners(self) -> list[str]:
        return ["--config", "broker.toml"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSBroker]:
    """Run it for the tests of this module."""
    running = TLSBroker(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


async def connect(broker: TLSBroker, shown: str, **options: object) -> nats.NATS:
    """Connect to NATS with a certificate."""
    return await nats.connect(
        f"tls://127.0.0.1:{broker.ports['nats']}",
        tls=client_context(broker.authority, shown),
        allow_reconnect=False,
        max_reconnect_attempts=0,
        connect_timeout=10,
        **options,
    )


async def test_nats_py_with_a_certificate(broker: TLSBroker) -> None:
    """The NATS client for Python logs in with nothing but its certificate, and has the rights of its user."""
    async with await connect(broker, "alice") as client:
        subscription = await client.subscribe("by.certificate")
        await client.publish("by.certificate", b"hello")
        assert (await subscription.next_msg(timeout=10)).data == b"hello"


@pytest.mark.parametrize(("shown", "options"), [("", {}), ("other", {}), ("other", {"user": "alice"})])
async def test_nats_py_is_refused(broker: TLSBroker, shown: str, options: dict[str, str]) -> None:
    """Without a certificate of the right name it is refused, in words that it understands."""
    with pytest.raises((nats.errors.Error, OSError), match=r"(?i)authorization violation"):
        await connect(broker, shown, **options)


async def test_nats_py_with_a_forged_certificate(broker: TLSBroker) -> None:
    """A certificate of another authority does not get through the handshake."""
    with pytest.raises((nats.errors.Error, OSError)):
        await connect(broker, "forged", user="alice", password="secret")


async def test_nats_py_with_a_password(broker: TLSBroker) -> None:
    """Where certificates are optional, a user may do with a password."""
    async with await connect(broker, "", user="alice", password="secret") as client:
        assert client.is_connected


async def test_nats_py_with_an_nkey(broker: TLSBroker) -> None:
    """A client that signs the nonce with its seed is in; with another seed it is not."""
    pytest.importorskip("nkeys", reason="nats-py signs with it")
    async with await connect(broker, "", nkeys_seed_str=spell(b"\x95\x00", SEED)) as client:
        subscription = await client.subscribe("by.nkey")
        await client.publish("by.nkey", b"hello")
        assert (await subscription.next_msg(timeout=10)).data == b"hello"
    with pytest.raises((nats.errors.Error, OSError), match=r"(?i)authorization violation"):
        await connect(broker, "", nkeys_seed_str=spell(b"\x95\x00", SEED[::-1]))


async def test_hpfeeds_with_a_certificate(broker: TLSBroker) -> None:
    """An hpfeeds client with its user's certificate and a wrong secret publishes and hears."""
    context = client_context(broker.authority, "sensor")
    place = "127.0.0.1", broker.ports["hpfeeds"]
    async with ClientSession(*place, "sensor", "wrong", ssl=context) as client:
        client.subscribe("chan.one")
        await asyncio.sleep(0)
        client.publish("chan.one", b"hello")
        async for ident, channel, payload in client:
            assert (ident, channel, payload) == ("sensor", "chan.one", b"hello")
            break


# -- renewed ------------------------------------------------------------------------------------------------------

SECONDS = 5  # in which a certificate that was replaced is used


async def served(broker: TLSBroker, protocol: str) -> str:
    """Shake hands, and give the common name of the broker's certificate."""
    context = client_context(broker.authority, "alice")
    _, writer = await asyncio.open_connection("127.0.0.1", broker.ports[protocol], ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).subject.rfc4514_string()


async def until(broker: TLSBroker, name: str, protocols: Sequence[str] = ("nats", "hpfeeds")) -> float:
    """Shake hands until the certificate has that name; give the seconds that it took."""
    begun = time.monotonic()
    for protocol in protocols:
        while await served(broker, protocol) != f"CN={name}":
            assert time.monotonic() - begun < SECONDS, broker.output()
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


def swap(broker: TLSBroker, name: str, *kinds: str) -> None:
    """Put another pair, or one of its files, in the place of the broker's, as certbot does: by a rename for each."""
    for kind in kinds:
        (broker.home / f"{name}.{kind}").rename(broker.home / f"server.{kind}")


async def test_renewed_without_a_restart(broker: TLSBroker) -> None:
    """New handshakes have the new certificate within seconds; connections from before go on, of both protocols."""
    broker.authority.issue("renewed", "renewed")
    context = client_context(broker.authority, "sensor")
    place = "127.0.0.1", broker.ports["hpfeeds"]
    async with await connect(broker, "alice") as old, ClientSession(*place, "sensor", "wrong", ssl=context) as sensor:
        subscription = await old.subscribe("chan.one")
        sensor.subscribe("chan.one")
        await old.flush()
        swap(broker, "renewed", "key", "crt")
        assert await until(broker, "renewed") < SECONDS
        async with await connect(broker, "alice") as new:
            await new.publish("chan.one", b"after")
            assert (await subscription.next_msg(timeout=10)).data == b"after"
            assert (await asyncio.wait_for(sensor.read(), 10))[2] == b"after"
        sensor.publish("chan.one", b"from the sensor")
        assert (await subscription.next_msg(timeout=10)).data == b"from the sensor"


async def test_half_renewed(broker: TLSBroker) -> None:
    """With only one of the two files replaced the old pair stays, and the log says why; then the new one is used."""
    broker.authority.issue("server", "first")
    await until(broker, "first")
    broker.authority.issue("second", "second")
    before = broker.output().count("they do not match")  # a look may have come between the two writes
    swap(broker, "second", "crt")
    begun = time.monotonic()
    while broker.output().count("they do not match") == before:
        assert time.monotonic() - begun < SECONDS, broker.output()
        await asyncio.sleep(0.05)
    assert await served(broker, "nats") == "CN=first"
    swap(broker, "second", "key")
    broker.signal(signal.SIGHUP)
    await until(broker, "second")
    assert broker.output().count("they do not match") == before + 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_an_old_client_is_refused(broker: TLSBroker) -> None:
    """Nobody gets in by TLS 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", broker.ports["nats"], ssl=context)
