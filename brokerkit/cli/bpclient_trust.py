"""Whom ``bpclient`` takes for the broker: by an authority, by a fingerprint, or by the key that was there before.

A broker of this kind signs its certificate itself, so there is often nobody to ask.  Then its key is written down when
it is met for the first time, and has to be the same ever after; a renewed certificate has the same key.  Nothing is
sent before that is decided.  The original's certificate proves nothing: its private key is public.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shlex
import socket
import ssl
from pathlib import Path

import attrs
import click

from brokerkit.cli.bpclient_errors import Fatal

# SHA-256 of the key (SPKI) that the original has in every install.
PUBLISHED = "42a7ca2a147f567302bf2dac18bcbcbef95a46e3c4b5f45e45072ffb99b282e7"
_DIGITS = 64


@attrs.frozen
class Trust:
    """How the broker has to prove itself; without ``ca``, ``fingerprint`` and ``insecure`` it is known or new.

    ``fingerprint`` is the SHA-256 of its certificate or of its key, in hex, or several with commas.
    """

    ca: str | None = None
    fingerprint: str = ""
    insecure: bool = False
    known: Path = Path()

    def connect(self, host: str, port: int, timeout: float) -> ssl.SSLSocket:
        """Give a connection to a broker that is trusted; raise ``Fatal``, or ``OSError`` for a network that fails."""
        if self.ca is not None:
            return _handshake(_verifying(self.ca), host, port, timeout)
        if self.insecure:
            return _handshake(_anybody(), host, port, timeout)
        book = Known(self.known)
        key = None if self.fingerprint else book.key(host, port)
        if not self.fingerprint and key is None:
            try:
                return _handshake(_verifying(None), host, port, timeout)
            except ssl.SSLCertVerificationError:  # nobody that this machine knows has signed it
                pass
        found = _handshake(_anybody(), host, port, timeout)
        try:
            self._see(found.getpeercert(binary_form=True) or b"", key, host, port, book)
        except BaseException:
            found.close()
            raise
        return found

    def _see(self, certificate: bytes, key: str | None, host: str, port: int, book: Known) -> None:
        """Raise ``Fatal`` if that is not the certificate of the broker."""
        digests = hashlib.sha256(certificate).hexdigest(), key_digest(certificate)
        where = f"{host}:{port}"
        if digests[1] == PUBLISHED:
            text = f"{where} shows the certificate of the original bpbroker, whose private key is public"
            raise Fatal(f"{text}: it could be anybody; --insecure talks to it all the same")
        if self.fingerprint:
            wanted = read_fingerprints(self.fingerprint)
            if not any(hmac.compare_digest(one, digest) for one in wanted for digest in digests):
                text = f"{where} shows a certificate with the fingerprint {digests[0]}, which is not the expected one"
                raise Fatal(f"{text}; was it renewed? The broker says at its start which key it has: give that one's")
        elif key is None:
            book.add(host, port, digests[1])
            text = f"{where} is met for the first time; SHA-256 of its certificate {digests[0]}"
            click.echo(f"bpclient: {text}, of its key {digests[1]}: the broker says both when it starts", err=True)
        elif not hmac.compare_digest(key, digests[1]):
            text = f"{where} has another key than before: it is another broker, or somebody between"
            forget = shlex.join(["sed", "-i", f"/^{re.escape(book.name(host, port))} /d", str(self.known)])
            raise Fatal(f"{text}; it is {digests[1]} now. If you know why, forget the former one: {forget}")


def read_fingerprints(text: str) -> list[str]:
    """Give SHA-256 fingerprints in hex, small, without colons; raise ``click.UsageError``."""
    found = [re.sub(r"[:\s]", "", re.sub(r"(?i)^\s*sha-?256[:=]", "", one)).lower() for one in text.split(",")]
    for one in found:
        if len(one) != _DIGITS or not re.fullmatch(r"[0-9a-f]+", one):
            raise click.UsageError("--fingerprint: expected a SHA-256 in hex, 64 digits, colons between them or not")
    return found


def key_digest(certificate: bytes) -> str:
    """Give the SHA-256 of the key in a certificate (DER), in hex; raise ``Fatal`` for what is no certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    try:
        key = load_der_x509_certificate(certificate).public_key()
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    except Exception:  # cryptography raises errors of many kinds for odd certificates
        raise Fatal("the broker shows a certificate that cannot be read") from None


class Known:
    """The file of keys: a line ``HOST:PORT SHA-256`` for each broker; like ssh's, to be edited by hand."""

    def __init__(self, path: Path) -> None:
        """Use that file; it need not be there."""
        self._path = path

    @staticmethod
    def name(host: str, port: int) -> str:
        """Give what the line of a broker begins with."""
        return f"{host.lower()}:{port}"

    def key(self, host: str, port: int) -> str | None:
        """Give the digest of a broker's key, if it was met before; raise ``Fatal`` if that cannot be found out."""
        name = self.name(host, port)
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Fatal(f"{self._path}: cannot be read: {getattr(error, 'strerror', None) or 'is no text'}") from None
        for number, line in enumerate(lines, 1):
            words = line.split()
            if words and words[0] == name:
                if len(words) != 2 or not re.fullmatch(r"[0-9a-f]{64}", words[1]):  # noqa: PLR2004  host and digest
                    raise Fatal(f"{self._path}:{number}: expected HOST:PORT and a SHA-256 in hex")
                return words[1]
        return None

    def add(self, host: str, port: int, digest: str) -> None:
        """Write a key down; raise ``Fatal`` if that does not work, for then nothing was verified."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(f"{self.name(host, port)} {digest}\n")
        except OSError as error:
            text = f"{self._path}: the broker's key cannot be written down: {error.strerror}"
            raise Fatal(f"{text}; give --ca, --fingerprint or --known-brokers FILE") from None


def usual_place() -> Path:
    """Give where keys are written down."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "brokerkit" / "known_brokers"


def _verifying(ca: str | None) -> ssl.SSLContext:
    try:
        return _lenient(ssl.create_default_context(cafile=ca))
    except ssl.SSLError:
        raise Fatal(f"--ca {ca}: expected certificates in PEM") from None
    except OSError as error:
        raise Fatal(f"--ca {ca}: {error.strerror}") from None


def _anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the key is looked at instead, or --insecure was said
    return _lenient(context)


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Take the end of a connection for the end of an answer, since the original says no other."""
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def _handshake(context: ssl.SSLContext, host: str, port: int, timeout: float) -> ssl.SSLSocket:
    plain = socket.create_connection((host, port), timeout)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
