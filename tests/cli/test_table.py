"""The commands that ``brokerkit run`` prints for endpoints with TLS: only such as can work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from brokerkit.cli.table import _commands
from brokerkit.testing import MemoryBroker
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

LOCALHOST: list[x509.GeneralName] = [x509.DNSName("localhost")]


@pytest.mark.parametrize(
    ("names", "keys", "said"),
    [
        (LOCALHOST, {}, " --tls-name localhost "),
        ([], {}, ""),
        (LOCALHOST, {"client_ca": "authority.crt"}, ""),
    ],
)
def test_tls(tmp_path: Path, names: list[x509.GeneralName], keys: dict[str, str], said: str) -> None:
    """A client is told which name to expect; where it could not get in by that there is no command."""
    authority = Authority(tmp_path)
    authority.issue("server", "server", names)
    endpoint = f"tls:port=1:key={tmp_path}/server.key:cert={tmp_path}/server.crt"
    told = {key: str(tmp_path / value) for key, value in keys.items()}
    memory = MemoryBroker(settings={"nats": {"endpoint": endpoint, **told}})
    found = [command for command in _commands(memory.broker, None, ("anonymous",)) if " nats://" in command]
    assert len(found) == (2 if said else 0)
    assert all(said in command and " --ca" not in command for command in found)


def test_a_certificate_that_nobody_else_has_signed(tmp_path: Path) -> None:
    """A certificate that is its own authority is named as such."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(own, own, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    made = builder.add_extension(x509.SubjectAlternativeName(LOCALHOST), critical=False).sign(key, hashes.SHA256())
    (tmp_path / "own.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "own.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    memory = MemoryBroker(settings={"nats": {"endpoint": f"tls:port=1:key={tmp_path}/own.key:cert={tmp_path}/own.crt"}})
    found = [command for command in _commands(memory.broker, None, ("anonymous",)) if " nats://" in command]
    assert len(found) == 2
    assert all(f" --ca {tmp_path}/own.crt --tls-name localhost " in command for command in found)
