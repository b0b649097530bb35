"""What the messages of a WebSocket may be: how large, and compressed or not (RFC 7692).

Two bounds, both held before anything is allocated: what a frame says of its length, and how much comes out of it while
it is inflated.  So neither a header that promises exabytes nor a kilobyte that holds a gigabyte gets anywhere.

No message is compressed with what was in the one before (``no_context_takeover``): a connection that says nothing holds
no window, which is 300 KB with zlib, and secrets of one message cannot be guessed by the length of another.

wsproto's own extension inflates without a bound; this one stands in its place.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol

NAME = "permessage-deflate"
AGREED = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
WORTH = 64  # bytes of a frame from which on compression gains something
_END = b"\x00\x00\xff\xff"  # what every message ends with, and nobody sends
_BITS = -15  # the largest window, without zlib's own head and checksum


def agree(offers: str) -> bool:
    """Say whether one of a client's offers (``Sec-WebSocket-Extensions``) can be met by ``AGREED``.

    One that wants a smaller window of us cannot: zlib's smallest is not the smallest that may be asked for.
    """
    return any(_can_be_met(offer) for offer in offers.split(","))


def _can_be_met(offer: str) -> bool:
    name, *parameters = (word.strip().lower() for word in offer.split(";"))
    known = {"server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits"}
    keys = [parameter.partition("=")[0].strip() for parameter in parameters]
    return name == NAME and set(keys) <= known and len(set(keys)) == len(keys)


class Messages(Extension):
    """The bounds on what one connection sends, and, if ``deflate``, compression both ways; ``limit`` is in bytes."""

    name = NAME

    def __init__(self, limit: int, *, deflate: bool) -> None:
        """Begin between two messages."""
        self._limit = limit
        self._deflate = deflate
        self._within = False  # a message
        self._control = False  # whether the frame at hand is no part of it
        self._compressed = False
        self._before = 0  # bytes of the message's frames before the one at hand
        self._length = 0  # bytes of the frame at hand
        self._out = 0  # bytes that the message has been inflated to
        self._inflator: Any = None

    def enabled(self) -> bool:
        """Say yes: the bounds are for everybody."""
        return True

    def offer(self) -> bool:
        """Offer nothing, being the server."""
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002  as in wsproto
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """Look at a frame's header, which may be shown more than once; say which reserved bits it may have."""
        self._control = opcode.iscontrol()
        if self._control:
            return RsvBits(rsv1=False, rsv2=False, rsv3=False)
        if (opcode is Opcode.CONTINUATION) is not self._within:
            return CloseReason.PROTOCOL_ERROR
        if self._before + payload_length > self._limit:
            return CloseReason.MESSAGE_TOO_BIG
        if not self._within:
            self._compressed = rsv.rsv1
        self._length = payload_length
        return RsvBits(rsv1=self._deflate and not self._within, rsv2=False, rsv3=False)

    def frame_inbound_payload_data(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002  as in wsproto
        data: bytes,
    ) -> bytes | CloseReason:
        """Give what a piece of a frame holds."""
        return data if self._control or not self._compressed else self._inflate(data)

    def frame_inbound_complete(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002  as in wsproto
        fin: bool,
    ) -> bytes | CloseReason | None:
        """Give what is left when a frame has ended, which may be the last of its message."""
        if self._control:
            return None
        self._within = not fin
        self._before += self._length
        if not fin:
            return None
        rest = self._inflate(_END) if self._compressed else b""
        self._inflator = None
        self._before = self._out = 0
        self._compressed = False
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        if self._inflator is None:
            self._inflator = zlib.decompressobj(_BITS)
        if self._inflator.eof:  # zlib would collect what comes behind the end, and nothing has to be there
            return b"" if data in (b"", _END) else CloseReason.INVALID_FRAME_PAYLOAD_DATA
        try:
            found: bytes = self._inflator.decompress(data, self._limit - self._out + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._out += len(found)
        return CloseReason.MESSAGE_TOO_BIG if self._out > self._limit else found

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002  as in wsproto
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """Compress a message of one frame, if it is worth it."""
        if not self._deflate or opcode.iscontrol() or not fin or len(data) <= WORTH:
            return rsv, data
        deflator = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _BITS)
        packed = deflator.compress(data) + deflator.flush(zlib.Z_SYNC_FLUSH)
        return RsvBits(rsv1=True, rsv2=rsv.rsv2, rsv3=rsv.rsv3), packed[: -len(_END)]
