"""The key and the certificate of this install: made at the first start, never the same twice, renewed in good time.

The original ships one private key to everybody.  Here each install makes its own: an ECDSA key on P-256 and a
certificate that it signs itself, valid for ten years, so that a client can hold on to its fingerprint.  A renewed one
has another fingerprint, but keeps the key, whose fingerprint our client takes, too: so both are said, and whoever may
hold on to the wrong one is warned long before.  The files lie in the data directory, for the owner's eyes alone;
whoever has a better certificate names it in the endpoint.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker.durable import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cryptography import x509

log = Logger()

DAYS = 3650  # that a certificate is valid
RENEW = 90  # days before its end, from which on it is renewed
WARN = 270  # days before its end, from which on it is said that it will be renewed
WARN_AGAIN = 30  # days between two warnings
LOOK = 6 * 3600.0  # seconds between two looks at how long it is valid
SLACK = 1  # day before now from which it is valid: clocks differ
NAMES = 100  # hosts and addresses in it
LONGEST = 64  # characters of a common name


def paths(directory: Path) -> tuple[Path, Path]:
    """Give where the key and the certificate of an install are kept in its data directory."""
    return directory / "bpbroker.key", directory / "bpbroker.crt"


def provide(directory: Path, names: Sequence[str], now: float) -> x509.Certificate:
    """See that key and certificate are there, the latter for another while; give it.

    ``names`` are hosts and addresses beside those of this machine; ``now`` is in seconds since 1970.  Raises
    ``OperatorError``.
    """
    key_path, cert_path = paths(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if cert_path.exists() and not key_path.exists():
            raise OperatorError(f"{key_path}: the key of {cert_path.name} is gone: put it back, or remove that")
        key = _key(key_path)
        found = _certificate(cert_path)
        if found is None or found.public_key() != key.public_key() or _days_left(found, now) < RENEW:
            found = sign(key, [*own_names(), *names], now)
            write(cert_path, [_pem(found)])
    except OSError as error:
        raise OperatorError(f"{error.filename or directory}: cannot be written: {error.strerror or error}") from None
    return found


def fingerprint(certificate: x509.Certificate) -> str:
    """Give the SHA-256 of a certificate, as the tools show it: ``9E:2B:…``."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex(":").upper()


def key_fingerprint(certificate: x509.Certificate) -> str:
    """Give the SHA-256 of the key (SPKI) in a certificate, spelled as ``fingerprint`` does; it outlasts renewals."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(key).digest().hex(":").upper()


class Renewing(Service):
    """Renews the certificate of an install before it ends; that the files changed is seen by who serves them.

    It says so when it has, and well before: the fingerprint of the certificate will be another.
    """

    def __init__(self, directory: Path, names: Sequence[str], clock: Any) -> None:  # noqa: ANN401  any clock
        """Look after the certificate in that directory."""
        self._directory = directory
        self._names = tuple(names)
        self._clock = clock
        self._found: x509.Certificate | None = None
        self._warned = 0.0
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(LOOK)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Renew what ends soon; where that fails, say so and try again later."""
        try:
            found = provide(self._directory, self._names, self._clock.seconds())
            former, self._found = self._found, found
            if former is not None and found != former:
                self._say_renewed(found)
            else:
                self._warn(found)
        except OperatorError as error:
            log.error("the certificate cannot be renewed: {error}", error=str(error))
        except Exception:  # whatever it is, the next look is due
            log.failure("the certificate cannot be renewed because of a bug")

    def _say_renewed(self, found: x509.Certificate) -> None:
        log.warn(
            "the certificate is another one; SHA-256 of the certificate {certificate}, of its key {key}",
            certificate=fingerprint(found),
            key=key_fingerprint(found),
        )

    def _warn(self, found: x509.Certificate) -> None:
        """Say from time to time that it will be renewed, and what stays."""
        now = self._clock.seconds()
        left = _days_left(found, now)
        if left > WARN or now < self._warned + WARN_AGAIN * 86400:
            return
        self._warned = now
        log.warn(
            "the certificate will be renewed in {days} days, and its fingerprint will be another one: clients that were"
            " given it need that of the key instead, which stays: {key}",
            days=max(0, int(left - RENEW)),
            key=key_fingerprint(found),
        )


def sign(key: Any, names: Iterable[str], now: float) -> x509.Certificate:  # noqa: ANN401  any private key
    """Give a certificate for these hosts and addresses, signed by its own key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID

    known = list(dict.fromkeys(names))[:NAMES]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, (known or ["bpbroker"])[0][:LONGEST])])
    moment = datetime.fromtimestamp(int(now), UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=SLACK))
        .not_valid_after(moment + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    alternatives = [one for name in known if (one := _alternative(name)) is not None]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, SHA256())


def own_names() -> list[str]:
    """Give the names and addresses of this machine; those of links that only a neighbour could use are left out."""
    names = [socket.gethostname(), "localhost"]
    with suppress(ImportError, OSError):
        import ifaddr

        for adapter in ifaddr.get_adapters():
            names += [one.ip if isinstance(one.ip, str) else one.ip[0] for one in adapter.ips]
    return [name for name in dict.fromkeys(names) if name and not _is_link_local(name)]


def _is_link_local(name: str) -> bool:
    try:
        return ip_address(name).is_link_local
    except ValueError:
        return False


def _usage() -> x509.KeyUsage:
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName | None:
    """Give a name as it stands in a certificate, nothing for what cannot."""
    from cryptography import x509

    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    with suppress(ValueError):
        return x509.DNSName(name)
    return None


def _days_left(certificate: x509.Certificate, now: float) -> float:
    return (certificate.not_valid_after_utc.timestamp() - now) / 86400


def _key(path: Path) -> Any:  # noqa: ANN401  a private key
    """Give the key in a file, a new one if there is none; raise ``OperatorError`` for what is no key."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    try:
        return load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        key = generate_private_key(SECP256R1())
        write(path, [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())])
        return key
    except (ValueError, TypeError):
        raise OperatorError(f"{path}: found no key, expected a private key without a password in PEM") from None


def _certificate(path: Path) -> x509.Certificate | None:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise OperatorError(f"{path}: found no certificate, expected one in PEM; remove it for a new one") from None


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
