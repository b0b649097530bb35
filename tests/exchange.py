"""A client of the hpfeeds package that logs in, hears what it or another one says, and leaves."""

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


def heard_of(address: tuple[str, int], ident: str, secret: str, channel: str, publisher: str) -> tuple[str, str, bytes]:
    """Subscribe, have another publish until something comes, and give it; both have the same secret."""
    return asyncio.run(asyncio.wait_for(_heard_of(address, ident, secret, channel, publisher), SECONDS))


async def _heard_of(
    address: tuple[str, int], ident: str, secret: str, channel: str, publisher: str
) -> tuple[str, str, bytes]:
    sessions = ClientSession(*address, ident, secret), ClientSession(*address, publisher, secret)
    sessions[0].subscribe(channel)
    async with sessions[0] as listening, sessions[1] as other:
        reading = asyncio.ensure_future(listening.read())
        while not reading.done():  # the broker does not say when a subscription has begun
            await other.when_connected
            other.publish(channel, b"\x00hello\xff")
            await asyncio.wait([reading], timeout=0.1)
        message: tuple[str, str, bytes] = await reading
        return message


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
