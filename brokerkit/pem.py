"""Keys and certificates in PEM: read, and held against each other before anybody is shown them.

Everything is found out here, in words for the operator: OpenSSL would find it out one handshake at a time, or would ask
the terminal for a password.  A file that was cut off in the middle is refused even where a part of it could be used,
since somebody may be writing the rest of it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509

_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY_EXPECTED = "a private key without a password in PEM"
# SHA-256 of public keys whose private halves are published: that which bpbroker ships as dummy_api.key.
PUBLIC_KEYS = frozenset({"42a7ca2a147f567302bf2dac18bcbcbef95a46e3c4b5f45e45072ffb99b282e7"})


class Unfit(Exception):
    """Files are not what they have to be: what was expected, and what was found where, in one line."""

    def __init__(self, expected: str, hint: str) -> None:
        """Take both."""
        super().__init__(f"expected {expected} ({hint})")
        self.expected = expected
        self.hint = hint


@attrs.frozen
class Pair:
    """A certificate, its key, and the certificates that are sent behind it."""

    key: Any = attrs.field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def begins(self) -> float:
        """From when the certificate is valid, in seconds since 1970."""
        return self.certificate.not_valid_before_utc.timestamp()

    @property
    def ends(self) -> float:
        """Until when it is, likewise."""
        return self.certificate.not_valid_after_utc.timestamp()

    def valid(self, moment: float) -> bool:
        """Say whether it is valid at a moment, in seconds since 1970."""
        return self.begins <= moment < self.ends

    @property
    def names(self) -> list[str]:
        """The names of hosts in it, in lower case."""
        from cryptography import x509

        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            return []
        return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def read_pair(files: Mapping[str, bytes], key: str, cert: str, chain: str | None = None) -> tuple[Pair]:
    """Give the pair in the files of that name, by name of file and content; raise ``Unfit`` for what is none."""
    found = certificates(files[cert], cert, "a certificate in PEM")
    more = certificates(files[chain], chain, "certificates in PEM") if chain is not None else []
    keys = _keys(files[key], key)
    if len(keys) != 1:
        raise Unfit(_KEY_EXPECTED, f"{key}: there are {len(keys)} in it")
    if not _belong(keys[0], found[0]):
        why = "they do not match"
        if any(_belong(keys[0], one) for one in found[1:]):
            why = "the certificate of the key has to stand before the others"
        raise Unfit("a key and a certificate that belong together", f"{key}, {cert}: {why}")
    pair = Pair(keys[0], found[0], (*found[1:], *more))
    _check(pair, cert)
    return (pair,)


def read_directory(files: Mapping[str, bytes], directory: str) -> tuple[Pair, ...]:
    """Give the pairs in a directory's files that are of use; raise ``Unfit`` if a key has no certificate, or for none.

    Each is sent with the certificates in the directory that lead to its root.  Of those with one name, the one that is
    valid the longest is of use.  That of the first file, or what has come in its place, is the first.
    """
    expected = "a directory of *.pem files with keys and their certificates"
    found = [one for name, pem in files.items() if _CERTIFICATE in pem for one in certificates(pem, name, expected)]
    issuers = {one.subject: one for one in found if one.subject != one.issuer}
    newest = {_spell(one.public_key()): one for one in sorted(found, key=lambda one: one.not_valid_after_utc)}
    pairs = []
    for name, pem in files.items():
        for key in _keys(pem, name) if _KEY.search(pem) else []:
            own = newest.get(_spell(key.public_key()))
            if own is None:
                raise Unfit(expected, f"{name}: there is no certificate of this key")
            pairs.append(Pair(key, own, tuple(_above(own, issuers))))
            _check(pairs[-1], name)
    if not pairs:
        raise Unfit(expected, f"{directory}: there is no key in it")
    found_by = by_name(tuple(pairs))
    first = found_by[pairs[0].names[0]] if pairs[0].names else pairs[0]
    return tuple({id(pair): pair for pair in (first, *list(found_by.values())[:-1])}.values())


def by_name(pairs: tuple[Pair, ...]) -> dict[str, Pair]:
    """Give what is served under each name, and last, under the empty one, what those get who ask for no other."""
    found = {name: pair for pair in sorted(pairs, key=lambda pair: pair.ends) for name in pair.names}
    return {**found, "": pairs[0]}


def certificates(pem: bytes, path: str, expected: str) -> list[x509.Certificate]:
    """Give the certificates in a file; raise ``Unfit`` if there is none, or one that cannot be read."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        found = load_pem_x509_certificates(pem)
        for one in found:
            one.public_key()
    except Exception as error:  # ValueError, and what a key of an unknown kind raises
        raise Unfit(expected, f"{path}: {_first_line(error)}") from None
    if len(found) != pem.count(_CERTIFICATE):
        raise Unfit(expected, f"{path}: the last certificate is not complete")
    return found


def _keys(pem: bytes, path: str) -> list[Any]:
    """Give the private keys in a file; raise ``Unfit`` if there is one that cannot be read, or none."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    texts = [found[0] for found in _KEY.finditer(pem)] or [pem]
    if any(b"ENCRYPTED" in text for text in texts):
        hint = f"{path}: this one has a password: openssl pkey -in {path} -out new.key writes it without"
        raise Unfit(_KEY_EXPECTED, hint)
    try:
        return [load_pem_private_key(text, None) for text in texts]
    except Exception as error:  # as above; and the text is not to show any of the key
        raise Unfit(_KEY_EXPECTED, f"{path}: {_first_line(error)}") from None


def _belong(key: Any, certificate: x509.Certificate) -> bool:  # noqa: ANN401  any kind of key
    return bool(key.public_key() == certificate.public_key())


def _spell(key: Any) -> bytes:  # noqa: ANN401  any kind of public key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _above(certificate: x509.Certificate, issuers: Mapping[Any, x509.Certificate]) -> Iterable[x509.Certificate]:
    """Give the certificates between one and its root, each once."""
    left = dict(issuers)
    while (above := left.pop(certificate.issuer, None)) is not None:
        yield above
        certificate = above


def _check(pair: Pair, path: str) -> None:
    """Have OpenSSL take the pair; raise ``Unfit`` if it does not, such as for a key that is too short."""
    from OpenSSL import SSL

    if sha256(_spell(pair.key.public_key())).hexdigest() in PUBLIC_KEYS:
        hint = f"{path}: everybody has this one, the original bpbroker's: leave out key and cert, or make your own"
        raise Unfit("a private key that nobody else has", hint)
    try:
        context(pair)
        pair.valid(0)
    except (SSL.Error, ValueError, TypeError, OverflowError) as error:
        raise Unfit("a key and a certificate that OpenSSL takes", f"{path}: {_reasons(error)}") from None


def context(pair: Pair, **options: Any) -> Any:  # noqa: ANN401  an OpenSSL.SSL.Context
    """Give what serves a pair over TLS 1.2 or later; ``options`` are more of Twisted's ``CertificateOptions``."""
    # Imported here, as all of OpenSSL: it is slow to load, and only TLS needs it.
    from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion

    shown: list[Any] = [pair.certificate, *pair.chain]  # OpenSSL takes these, though Twisted's types do not say so
    made = CertificateOptions(
        privateKey=pair.key,
        certificate=shown[0],
        extraCertChain=shown[1:],
        raiseMinimumTo=TLSVersion.TLSv1_2,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        **options,
    ).getContext()
    made.set_alpn_select_callback(_no_protocol)
    return made


def _no_protocol(_connection: Any, _offered: list[bytes]) -> Any:  # noqa: ANN401  OpenSSL's
    """Go on without, whatever a client offers by ALPN, as browsers do; Twisted's own answer ends the handshake."""
    from OpenSSL.SSL import NO_OVERLAPPING_PROTOCOLS

    return NO_OVERLAPPING_PROTOCOLS


# For TLS 1.2; those of TLS 1.3 are all good.  Each has forward secrecy and authenticates what it encrypts.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"


def _reasons(error: Exception) -> str:
    """Give OpenSSL's reasons."""
    stack = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[2]) for entry in stack) or _first_line(error)


def _first_line(error: Exception) -> str:
    text = str(error).partition(". See http")[0]
    return " ".join(text.split()) or type(error).__name__
