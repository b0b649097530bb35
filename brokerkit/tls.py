"""Certificates that clients show: who may show which, and whose name is in it.

That a certificate is valid and of the right authority is OpenSSL's to say, in the handshake; nobody gets behind it
without.  What is read here is a name, of a certificate that has passed.  It has to be one name and no other: a
certificate that could be two users' is nobody's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.checkers.known import is_name
from brokerkit.errors import ConfigError
from brokerkit.pem import Unfit, certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509

    from brokerkit.config import Listen

AUTHORITY = "a file with the certificate of an authority in PEM"
REQUIRED, OPTIONAL = "required", "optional"
ANY = "nats"
_IN_ORDER = ("san-email", "san-dns", "san-uri", "subject", "subject-forwards")  # in which nats-server looks for a user
_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
MAX_TEXT = 1024  # characters of a name before the pattern is applied to it
SHOWN = 200  # characters of it in the log


class NoName(Exception):
    """A certificate names no user, or more than one; the text says why and holds nothing that could break a line."""


@attrs.frozen
class Naming:
    """How a certificate is a user's: by which part of it, and by which part of that, if not all of it."""

    part: str
    pattern: re.Pattern[str] | None = None

    def name(self, certificate: x509.Certificate) -> bytes:
        """Give the name of the user whose certificate this is; raise ``NoName`` if it is not exactly one's."""
        texts = _read(certificate, self.part)
        names = {name for text in texts if (name := self._name(text))}
        if len(names) == 1:
            return names.pop()
        found = ", ".join(repr(text[:SHOWN]) for text in texts[:4]) or "nothing"
        raise NoName(f"{len(names)} names of users where there has to be one; {self.part} is {found}")

    @property
    def decides(self) -> bool:
        """Whether the certificate alone says who it is, whatever else is shown."""
        return self.part == ANY

    def names(self, certificate: x509.Certificate) -> tuple[bytes, ...]:
        """Give the names under which its user may be known, the first to be tried first; raise ``NoName``."""
        if not self.decides:
            return (self.name(certificate),)
        texts = [text for part in _IN_ORDER for text in _read(certificate, part)]
        names = tuple(dict.fromkeys(name for text in texts if (name := self._name(text))))
        if not names:
            raise NoName("no name in it")
        return names

    def _name(self, text: str) -> bytes:
        """Give the user's part of a text, empty if it has none."""
        if len(text) > MAX_TEXT:
            return b""
        if self.pattern is not None:
            # The whole text has to fit, anchors or not: what could be put before or behind it would be anybody's.
            found = self.pattern.fullmatch(text)
            text = (found and found[1]) or ""
        name = text.encode(errors="surrogatepass")
        return name if is_name(name) else b""


@attrs.frozen
class Clients:
    """What one listener asks of its clients: certificates of the authorities in a file, of all or of who has one.

    ``naming`` is ``None`` where a certificate opens the door, and says nothing about who comes in.
    """

    path: str
    required: bool = True
    naming: Naming | None = None


def clients(listen: Listen) -> Clients | None:
    """Give what a listener asks of its clients' certificates, ``None`` if it asks for none.

    Reads the file of authorities.  Raises ``ConfigError`` for what cannot be meant.
    """
    where = listen.protocol
    if listen.client_ca is None:
        for key in ("client_certificate", "certificate_user", "certificate_pattern"):
            if getattr(listen, key) is not None:
                raise ConfigError(where, key, getattr(listen, key), "client_ca beside it")
        return None
    wanted = listen.client_certificate
    if wanted not in (None, REQUIRED, OPTIONAL):
        raise ConfigError(where, "client_certificate", wanted, f"{REQUIRED} or {OPTIONAL}")
    _check_authorities(listen.client_ca, where)
    return Clients(listen.client_ca, wanted != OPTIONAL, _naming(listen, where))


def authorities(pem: bytes, path: str) -> tuple[Any, ...]:
    """Give the certificates of authorities, as OpenSSL takes them, in a file's content; raise ``Unfit``."""
    # Imported here, as below: it is slow to load, and only TLS needs it.
    from cryptography.hazmat.primitives.serialization import Encoding
    from twisted.internet.ssl import Certificate

    found = certificates(pem, path, AUTHORITY)
    if not any(one.subject == one.issuer for one in found):
        raise Unfit(AUTHORITY, f"{path}: there is none that is its own issuer: put the root behind the others")
    return tuple(Certificate.loadPEM(one.public_bytes(Encoding.PEM)).original for one in found)


def peer_names(transport: Any, naming: Naming | None) -> tuple[bytes, ...]:  # noqa: ANN401  any transport
    """Give the names in the certificate that a peer has shown; none if it has shown none, or if names do not count.

    Raises ``NoName`` for a certificate that does not name a user as it has to.
    """
    shown = getattr(transport, "getPeerCertificate", None)
    certificate = shown() if naming is not None and shown is not None else None
    return naming.names(certificate.to_cryptography()) if naming is not None and certificate is not None else ()


def is_pinned(shown: Any, pins: frozenset[bytes]) -> bool:  # noqa: ANN401  a certificate of OpenSSL, or None
    """Say whether the key of a certificate is one of those whose digests (SHA-256 of the SPKI) are given."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if shown is None:
        return False
    try:
        key = shown.to_cryptography().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError):  # a kind of key that is not known
        return False
    return sha256(key).digest() in pins


def read_pins(texts: Iterable[str], where: str) -> frozenset[bytes]:
    """Read digests of keys, 64 hexadecimal digits each; raise ``ConfigError``."""
    for text in texts:
        if not _DIGEST.fullmatch(text):
            raise ConfigError(where, "pinned_certs", text, "a SHA-256 of a public key (SPKI) in 64 hexadecimal digits")
    return frozenset(map(bytes.fromhex, texts))


def failed_handshake(reason: Any) -> str:  # noqa: ANN401  a Failure
    """Say why TLS came to nothing, empty if that is not how a connection ended; OpenSSL's words, never a peer's."""
    details: object = getattr(reason.value, "args", ())
    if type(reason.value).__module__ != "OpenSSL.SSL" or not isinstance(details, tuple):
        return ""
    stack = details[0] if details and isinstance(details[0], list) else []
    return "; ".join(str(entry[2]) for entry in stack) or type(reason.value).__name__


# -- reading ------------------------------------------------------------------------------------------------------


def _check_authorities(path: str, where: str) -> None:
    try:
        authorities(Path(path).read_bytes(), path)
    except OSError as error:
        raise ConfigError(where, "client_ca", path, AUTHORITY, error.strerror or str(error)) from None
    except Unfit as problem:
        raise ConfigError(where, "client_ca", path, problem.expected, problem.hint) from None


def _naming(listen: Listen, where: str) -> Naming | None:
    part, text = listen.certificate_user, listen.certificate_pattern
    if part is None:
        if text is not None:
            raise ConfigError(where, "certificate_pattern", text, "certificate_user beside it")
        return None
    if part not in _PARTS:
        raise ConfigError(where, "certificate_user", part, f"one of {', '.join(_PARTS)}")
    if part == ANY and not where.startswith("nats"):
        raise ConfigError(where, "certificate_user", part, "another: only NATS has certificates that decide alone")
    return Naming(part, None if text is None else _pattern(text, where))


def _pattern(text: str, where: str) -> re.Pattern[str]:
    expected = r"a regular expression with the user's name in parentheses, such as '(.+)\.sensors\.example'"
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(where, "certificate_pattern", text, expected, str(error)) from None
    if not pattern.groups:
        raise ConfigError(where, "certificate_pattern", text, expected, "it has no parentheses")
    return pattern


def _read(certificate: x509.Certificate, part: str) -> list[str]:
    """Give what stands in that part of a certificate; nothing where it cannot be read."""
    from cryptography import x509

    with suppress(ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _READERS[part](certificate)
    return []


def _common_name(certificate: x509.Certificate) -> list[str]:
    from cryptography.x509 import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [one.value for one in found if isinstance(one.value, str)]


def _subject(certificate: x509.Certificate) -> list[str]:
    return [certificate.subject.rfc4514_string()]


def _subject_forwards(certificate: x509.Certificate) -> list[str]:
    """Give the subject in the order of the certificate, which is that of most programs."""
    return [",".join(part.rfc4514_string() for part in certificate.subject.rdns)]


def _alternatives(kind: str) -> Callable[[x509.Certificate], list[str]]:
    """Give what reads the alternative names of one kind."""

    def read(certificate: x509.Certificate) -> list[str]:
        from cryptography import x509

        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return []
        return list(extension.value.get_values_for_type(getattr(x509, kind)))

    return read


_READERS: dict[str, Callable[[x509.Certificate], list[str]]] = {
    "cn": _common_name,
    "subject": _subject,
    "subject-forwards": _subject_forwards,
    "san-dns": _alternatives("DNSName"),
    "san-email": _alternatives("RFC822Name"),
    "san-uri": _alternatives("UniformResourceIdentifier"),
}
_PARTS = (*(part for part in _READERS if part != "subject-forwards"), ANY)
