"""A client of the hpfeeds package that logs in, hears what it says itself, and leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hpfeeds.asyncio import ClientSession

if TYPE_CHECKING:
    import ssl

SECONDS = 10


def heard(
    address: tuple[str, int], ident: str, secret: str, channel: str, tls: ssl.SSLContext | None = None
) -> tuple[str, str, bytes]:
    """Publish to a channel that one has subscribed to, and give what comes back; raise ``TimeoutError`` if nothing."""
    return asyncio.run(asyncio.wait_for(_heard(address, ident, secret, channel, tls), SECONDS))


async def _heard(
    address: tuple[str, int], ident: str, secret: str, channel: str, tls: ssl.SSLContext | None
) -> tuple[str, str, bytes]:
    session = ClientSession(*address, ident, secret, ssl=tls)
    session.subscribe(channel)
    await session.when_connected
    async with session:
        session.publish(channel, b"\x00hello\xff")
        message: tuple[str, str, bytes] = await session.read()
        return message
