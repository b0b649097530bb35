"""A subject in an answer: quoted as nats-server does it, since clients read these texts."""

from __future__ import annotations

from brokerkit.errors import NotAllowed


def denied(what: bytes, subject: bytes, queue: bytes = b"", sid: bytes = b"") -> NotAllowed:
    """Give the permissions error for a subject, quoted as nats-server quotes; ``sid`` of what was allowed before."""
    text = b"Permissions Violation for %b %b" % (what, quoted(subject))
    if queue:
        text += b" using queue " + quoted(queue)
    if sid:
        text += b" (sid %b)" % quoted(sid)
    return NotAllowed(text.decode(errors="surrogateescape"), fatal=False)


def quoted(name: bytes) -> bytes:
    """Quote a subject as Go does: what could end the quotation, the line or the sense of a terminal is escaped."""
    text = name.decode(errors="surrogateescape")
    return b'"' + "".join(map(_escaped, text)).encode() + b'"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004  a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:  # noqa: PLR2004
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004


_ESCAPES = dict(zip('"\\\a\b\f\n\r\t\v', ('\\"', "\\\\", *(f"\\{c}" for c in "abfnrtv")), strict=True))
