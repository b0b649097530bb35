"""Confluent's media types: what a body holds, and what an answer may look like.

``application/vnd.kafka[.FORMAT][.VERSION]+json``, where FORMAT is how keys and values stand in the JSON: ``binary`` (as
base64, which is meant where none is named) or ``json``.  Avro and the like need a schema registry, which is not here.
Source: Confluent's REST Proxy API reference, "Content Types".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from brokerkit.protocols.kafka_rest.confluent_errors import FORMAT_MISMATCH, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.web import Asked

BINARY, JSON = "binary", "json"
FORMATS = (BINARY, JSON)
_KAFKA = re.compile(
    r"application/vnd\.kafka(?:\.(binary|json|avro|jsonschema|protobuf))?(?:\.(v[12]))?\+json", re.ASCII
)
_PLAIN = {"application/json", "application/octet-stream", "*/*", "application/*"}
_MOST = 64  # media ranges of one header that are looked at


@attrs.frozen
class Media:
    """One media type: a format, empty where none is named, and a version."""

    format: str = ""
    version: str = "v2"

    @property
    def plain(self) -> str:
        """The type of an answer without keys and values."""
        return f"application/vnd.kafka.{self.version}+json"

    def of(self, embedded: str) -> str:
        """Give the type of an answer with keys and values in that format."""
        return f"application/vnd.kafka.{embedded}.{self.version}+json"


def content(asked: Asked) -> Media:
    """Give what a body is said to be; raise ``Problem`` 415 for what cannot be read."""
    text = asked.header("content-type")
    kind = text.partition(";")[0].strip().lower()
    if not kind or kind in _PLAIN:
        return Media()
    found = _KAFKA.fullmatch(kind)
    if found is None:
        raise refused(
            415, f"HTTP 415 Unsupported Media Type: {kind[:100]}, expected application/vnd.kafka.json.v2+json"
        )
    embedded = found[1] or ""
    if embedded not in {"", *FORMATS}:
        raise refused(415, f"the format {embedded} needs a schema registry, which is not here: use binary or json")
    return Media(embedded, found[2] or "v2")


def accepted(asked: Asked) -> Media:
    """Give the kind of answer that is liked best, by Accept; raise ``Problem`` 406 if it is none of these."""
    text = b", ".join(asked.headers.get(b"accept", ())).decode(errors="replace")
    if not text.strip():
        return Media()
    best: Media | None = None
    weight = 0.0
    for kind, quality in _ranges(text):
        media = _media(kind)
        if media is not None and quality > weight:
            best, weight = media, quality
    if best is None:
        raise refused(406, "HTTP 406 Not Acceptable: expected application/vnd.kafka.v2+json")
    return best


def embedded(asked: Asked, of_consumer: str) -> Media:
    """Give the kind of answer for records in a format; raise ``Problem`` 40601 if another one is wanted."""
    media = accepted(asked)
    if media.format and media.format != of_consumer:
        raise refused(FORMAT_MISMATCH, f"the consumer's format is {of_consumer}, but Accept asks for {media.format}")
    return media


def _media(kind: str) -> Media | None:
    if kind in _PLAIN:
        return Media()
    found = _KAFKA.fullmatch(kind)
    return Media(found[1] or "", found[2] or "v2") if found else None


def _ranges(text: str) -> Iterator[tuple[str, float]]:
    for part in text.split(",", _MOST)[:_MOST]:
        kind, *parameters = (piece.strip() for piece in part.lower().split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _quality(value.strip())
        yield kind, quality


def _quality(text: str) -> float:
    return min(1.0, float(text)) if re.fullmatch(r"[01](\.[0-9]{0,3})?", text) else 0.0
