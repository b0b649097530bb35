"""``brokerkit hpfeeds subscribe`` and ``publish``: what the client of the original does, for people and for scripts.

hpfeeds confirms nothing.  A publish has been taken when the broker, after this side has hung up, has hung up too,
without an ERROR: it does so when it has read everything.  A subscription stands as long as no ERROR comes.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.login_secret import VARIABLE, login_secret, secret_options
from brokerkit.cli.talk import WRONG, Server, exit_codes, fail
from brokerkit.cli.trust import tls_options
from brokerkit.errors import ProtocolViolation
from brokerkit.protocols.hpfeeds import wire
from brokerkit.protocols.hpfeeds.caller import HpfeedsCaller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from brokerkit.cli.sinks import Sink
    from brokerkit.cli.trust import Trust
    from brokerkit.run import Message

PUBLISH_TIMEOUT = 15.0  # seconds: more than a broker has to say its first words
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before it connects again
LONGEST_IDENT = 255  # bytes
# What a broker refuses for a while only; the rest is refused for good.
PASSING = ("Users cannot be looked up now", "Too many connections", "Authentication timed out")


class Ears(HpfeedsCaller):
    """A caller that keeps whole PUBLISH frames in ``came``, for who publishes is of interest too.

    Nobody but the channels that were asked for may speak: names of files are made of them.
    """

    def __init__(self, name: str, secret: str) -> None:
        """Take the ident and its secret."""
        super().__init__(name, secret)
        self.came: deque[wire.Publish] = deque()
        self._channels: set[bytes] = set()

    def subscribe(self, pattern: bytes) -> bytes:
        """Give a SUBSCRIBE frame."""
        self._channels.add(pattern)
        return super().subscribe(pattern)

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give what to send now."""
        _, answer = super().receive(chunk)
        return [], answer

    def heard(self, item: wire.Publish) -> Message:
        """Keep a message."""
        if item.channel not in self._channels:
            raise ProtocolViolation("the broker sent a message of a channel that was not asked for")
        self.came.append(item)
        return super().heard(item)


@click.group()
def hpfeeds() -> None:
    """Talk to an hpfeeds broker, this one or another."""


def _login_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of a login; it gets a ``Server`` as ``server`` and bytes as ``channels``."""

    @wraps(command)
    def told(
        *,
        host: str,
        port: int,
        ident: str,
        secret: str | None,
        secret_file: str | None,
        stdin: bool,
        channels: Sequence[str],
        trust: Trust | None,
        **others: Any,  # noqa: ANN401  the command's own
    ) -> None:
        if len(os.fsencode(ident)) > LONGEST_IDENT:
            raise click.UsageError(f"--ident: expected at most {LONGEST_IDENT} bytes")
        if stdin and _reads_payload(others):
            raise click.UsageError("--stdin: standard input is the payload already; give words or --file")
        found = login_secret(secret, secret_file, os.environ.get(VARIABLE), stdin=stdin)
        server = Server("hpfeeds", host, port, ident, found, trust)
        command(server=server, channels=list(dict.fromkeys(map(os.fsencode, channels))), **others)

    wrapped = secret_options(tls_options(told))
    for option in (
        click.option(
            "-c", "--channel", "--chan", "channels", multiple=True, required=True, help="Channel; repeatable."
        ),
        click.option("-i", "--ident", required=True, help="Who to log in as."),
        click.option("-p", "--port", type=click.IntRange(1, 65535), default=10000, show_default=True),
        click.option("--host", default="127.0.0.1", show_default=True, help="Name or address of the broker."),
    ):
        wrapped = option(wrapped)
    return wrapped


# -- publish ------------------------------------------------------------------------------------------------------


def _reads_payload(others: dict[str, Any]) -> bool:
    """Say whether the payload comes from standard input."""
    return "words" in others and others["file"] is None and others["words"] in ((), ("-",))


@hpfeeds.command()
@click.argument("words", nargs=-1, metavar="[PAYLOAD]...")
@click.option("-f", "--file", type=click.Path(exists=True, dir_okay=False), help="Publish what is in this file.")
@click.option("--timeout", type=click.FloatRange(min=0), default=PUBLISH_TIMEOUT, show_default=True, help="Seconds.")
@_login_options
def publish(words: tuple[str, ...], file: str | None, timeout: float, server: Server, channels: list[bytes]) -> None:
    """Publish PAYLOAD to every channel that is named.

    Several words are put together with blanks between them; without any, or with "-", standard input is the payload,
    byte by byte.  Succeeds when the broker has taken it.
    """
    if words and file is not None:
        raise click.UsageError("give words or --file, not both")
    _publish(_payload(words, file), timeout, server, channels)


@hpfeeds.command(hidden=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--timeout", type=click.FloatRange(min=0), default=PUBLISH_TIMEOUT, show_default=True, help="Seconds.")
@_login_options
def sendfile(file: str, timeout: float, server: Server, channels: list[bytes]) -> None:
    """Publish what is in FILE: the original's word for ``publish --file``."""
    _publish(_payload((), file), timeout, server, channels)


def _publish(payload: bytes, timeout: float, server: Server, channels: list[bytes]) -> None:
    """Publish to every channel, and end when the broker has taken it."""
    from brokerkit.cli import conversation

    caller = Ears(server.name, server.secret)
    try:
        frames = b"".join(caller.publish(channel, payload) for channel in channels)
    except ValueError as error:
        raise fail(WRONG, str(error)) from None

    async def speak(talk: conversation.Talk) -> None:
        talk.send(frames)
        await talk.settle()

    with exit_codes(server, timeout):
        conversation.react(timeout, lambda reactor: conversation.talk(reactor, server, caller, speak))
    for channel in channels:
        click.echo(f"{_shown(channel)}: {len(payload)} bytes", err=True)


def _payload(words: tuple[str, ...], file: str | None) -> bytes:
    """Read no more than could be published."""
    if file is not None:
        try:
            with Path(file).open("rb") as opened:
                return opened.read(wire.MAX_PUBLISH + 1)
        except OSError as error:
            raise click.UsageError(f"--file {file}: {error.strerror}") from None
    if words in ((), ("-",)):
        return sys.stdin.buffer.read(wire.MAX_PUBLISH + 1)
    return os.fsencode(" ".join(words))


# -- subscribe ----------------------------------------------------------------------------------------------------


@hpfeeds.command()
@click.option("-n", "--count", type=click.IntRange(min=1), default=None, help="Stop after so many messages.")
@click.option("--timeout", type=click.FloatRange(min=0), default=None, help="Seconds to listen at the most.")
@click.option("--reconnect", is_flag=True, help="Connect again when the connection is lost or cannot be made.")
@click.option("-o", "--format", "kind", type=click.Choice(["text", "json", "raw"]), help="text; raw with --output-dir.")
@click.option("--base64", "always_base64", is_flag=True, help="In JSON, write every payload in base64.")
@click.option("--output-dir", type=click.Path(file_okay=False), help="Write each message to a file of its own here.")
@click.option("--append", is_flag=True, help="In the directory, have one file for each channel.")
@_login_options
def subscribe(
    count: int | None,
    timeout: float | None,
    reconnect: bool,
    server: Server,
    channels: list[bytes],
    **output: Any,  # noqa: ANN401  what _sink takes
) -> None:
    """Write what is published on the channels, until interrupted, or until COUNT messages have come."""
    from brokerkit.cli import conversation
    from brokerkit.cli.sinks import NobodyReads

    with exit_codes(server, timeout, endless=count is None):
        listening = Listening(server, channels, count, _sink(**output))
        work = listening.for_ever if reconnect else listening.once
        try:
            conversation.react(timeout, work)
        except NobodyReads:
            return


def _sink(kind: str | None, always_base64: bool, output_dir: str | None, append: bool) -> Sink:
    from brokerkit.cli import sinks

    if append and output_dir is None:
        raise click.UsageError("--append: give --output-dir beside it")
    kind = kind or ("text" if output_dir is None else "raw")
    if always_base64 and kind != "json":
        raise click.UsageError("--base64: give --format json beside it")
    spellings: dict[str, Callable[[wire.Publish], bytes]] = {
        "text": sinks.as_text,
        "json": partial(sinks.as_json, always_base64=always_base64),
        "raw": sinks.as_it_is,
    }
    spell = spellings[kind]
    if output_dir is None:
        return sinks.Output(spell)
    return (sinks.Appended if append else sinks.Separate)(output_dir, kind, spell)


class Listening:
    """Brings messages to a sink, over one connection or over one after the other."""

    def __init__(self, server: Server, channels: list[bytes], count: int | None, sink: Sink) -> None:
        """Stop after so many messages, if there is a count."""
        self._server = server
        self._channels = channels
        self._left = count
        self._sink = sink

    async def once(self, reactor: Any) -> None:  # noqa: ANN401  any reactor
        """Listen over one connection; raise what ends it."""
        from brokerkit.cli.conversation import talk

        ears = Ears(self._server.name, self._server.secret)
        await talk(reactor, self._server, ears, partial(self._listen, ears))

    async def for_ever(self, reactor: Any) -> None:  # noqa: ANN401  any reactor
        """Listen, and connect again after a loss, with longer and longer pauses; raise what cannot pass."""
        from twisted.internet.task import deferLater

        from brokerkit.cli.conversation import Refused, Unreachable, Untrusted

        pause = FIRST_PAUSE
        while True:
            began = reactor.seconds()
            try:
                await self.once(reactor)
            except (Refused, Unreachable) as error:
                if isinstance(error, Untrusted) or not _passes(error):
                    raise
                if reactor.seconds() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                click.echo(f"brokerkit: {error}; connecting again in {pause:g} s", err=True)
            else:
                return
            await deferLater(reactor, pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _listen(self, ears: Ears, talk: Any) -> None:  # noqa: ANN401  a Talk
        talk.send(b"".join(map(ears.subscribe, self._channels)))
        names = ", ".join(map(_shown, self._channels))
        click.echo(f"listening to {names} at {self._server.host}:{self._server.port}", err=True)
        while self._left is None or self._left > 0:
            await talk.until(lambda: bool(ears.came))
            self._write(ears.came)

    def _write(self, came: deque[wire.Publish]) -> None:
        while came and self._left != 0:
            self._sink.take(came.popleft())
            if self._left is not None:
                self._left -= 1
        self._sink.pause()


def _passes(error: Exception) -> bool:
    """Say whether it is worth another try: nobody there, a hang-up, or an ERROR that says so."""
    from brokerkit.cli.conversation import HungUp, Unreachable

    return isinstance(error, (HungUp, Unreachable)) or str(error).startswith(PASSING)


def _shown(channel: bytes) -> str:
    return ascii(channel.decode(errors="backslashreplace"))[1:-1]
