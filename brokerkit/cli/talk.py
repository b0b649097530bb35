"""``brokerkit pub`` and ``brokerkit sub``: a client of whatever protocol the server's URL names.

The protocol's plugin gives the client's side as a caller without I/O; here it gets a socket, a clock and an exit code.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import attrs
import click

from brokerkit.cli.trust import Trust, tls_options
from brokerkit.errors import OperatorError
from brokerkit.place import DEMO, default_directory, demo_secret, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.run import Message

REFUSED, WRONG, UNREACHABLE, LATE, INTERRUPTED = 1, 2, 3, 4, 130
PREFERRED = "nats"  # of the protocols of a running broker: the one with wildcards and acknowledged PINGs


@attrs.frozen
class Server:
    """Whom to talk to, and as whom."""

    protocol: str
    host: str
    port: int
    name: str
    secret: str = attrs.field(repr=False)
    trust: Trust | None = None


def fail(code: int, text: str) -> SystemExit:
    """Say what is wrong; give what ends the command with that exit code."""
    click.echo(f"brokerkit: {text}", err=True)
    return SystemExit(code)


def find_server(url: str | None, data_dir: str | None, trust: Trust | None = None) -> Server:
    """Read the URL, or find the broker that runs on this host; the demo user's secret is used where none is given."""
    directory = Path(data_dir) if data_dir else default_directory()
    if not url:
        listening = running(directory)
        if not listening:
            raise fail(
                UNREACHABLE,
                f"no broker is running here ({directory}): start one with `brokerkit run`, or give --server",
            )
        protocol = PREFERRED if PREFERRED in listening else min(listening)
        url = f"{protocol}://{listening[protocol]}"
    return attrs.evolve(_read_url(url, directory), trust=trust)


def _read_url(url: str, directory: Path) -> Server:
    from brokerkit.plugin import protocols

    known = protocols()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise fail(WRONG, f"{url!r} is not a URL such as nats://user:secret@host:4222") from None
    if parts.scheme not in known or not parts.hostname:
        raise fail(WRONG, f"{url!r}: expected PROTOCOL://[USER:SECRET@]HOST[:PORT] with one of: {', '.join(known)}")
    port = port or _usual_port(known[parts.scheme].default)
    if port is None:
        raise fail(WRONG, f"{url!r}: this protocol has no usual port, so give one")
    name, secret = unquote(parts.username or ""), unquote(parts.password or "")
    if name and not secret and parts.password is None and name != DEMO:
        name, secret = "", name  # nats://token@host
    elif not name or (name == DEMO and not secret):
        secret = demo_secret(directory)
        name = DEMO if secret else ""
    return Server(parts.scheme, parts.hostname, port, name, secret)


def _usual_port(endpoint: str | None) -> int | None:
    for part in (endpoint or "").split(":"):
        if part.removeprefix("port=").isdigit():
            return int(part.removeprefix("port="))
    return None


def _server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which broker is meant."""
    for option in (
        click.option(
            "-s",
            "--server",
            envvar="BROKERKIT_SERVER",
            help="PROTOCOL://[USER:SECRET@]HOST[:PORT]; the broker of this host if not given.",
        ),
        click.option("--data-dir", type=click.Path(file_okay=False), help="Data directory of the broker of this host."),
        click.option("--timeout", type=click.FloatRange(min=0), default=None, help="Seconds to wait at the most."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("topic")
@click.argument("payload", default="-")
@click.option("-n", "--count", type=click.IntRange(min=1), default=1, help="Publish it so many times.")
@_server_options
@tls_options
def pub(
    topic: str,
    payload: str,
    count: int,
    server: str | None,
    data_dir: str | None,
    timeout: float | None,
    as_json: bool,
    trust: Trust | None,
) -> None:
    """Publish PAYLOAD to TOPIC; "-" reads the payload from standard input.

    Succeeds when the broker has taken it.
    """
    data = sys.stdin.buffer.read() if payload == "-" else payload.encode()
    where = find_server(server, data_dir, trust)

    async def speak(talk: Any) -> None:  # noqa: ANN401  a Talk
        for _ in range(count):
            talk.send(_spell(talk.caller.publish, topic.encode(), data))
        await talk.settle()
        if as_json:
            click.echo(json.dumps({"topic": topic, "bytes": len(data), "count": count}))
        else:
            click.echo(f"{topic}: {len(data)} bytes" + (f", {count} times" if count > 1 else ""), err=True)

    converse(where, 5.0 if timeout is None else timeout, speak)


@click.command()
@click.argument("pattern")
@click.option("-n", "--count", type=click.IntRange(min=1), default=None, help="Stop after so many messages.")
@_server_options
@tls_options
def sub(
    pattern: str,
    count: int | None,
    server: str | None,
    data_dir: str | None,
    timeout: float | None,
    as_json: bool,
    trust: Trust | None,
) -> None:
    """Print what is published under PATTERN, until interrupted, or until COUNT messages have come."""
    where = find_server(server, data_dir, trust)

    async def listen(talk: Any) -> None:  # noqa: ANN401  a Talk
        talk.send(_spell(talk.caller.subscribe, pattern.encode()))
        click.echo(f"listening to {pattern} at {where.protocol}://{where.host}:{where.port}", err=True)
        done = 0
        while count is None or done < count:
            _show(await talk.message(), as_json=as_json)
            done += 1

    converse(where, timeout, listen, endless=count is None)


def _spell(how: Callable[..., bytes], *words: bytes) -> bytes:
    try:
        return how(*words)
    except ValueError as error:
        raise fail(WRONG, str(error)) from None


def _show(message: Message, *, as_json: bool) -> None:
    """Print one message: topic and payload, or all of it as JSON."""
    if not as_json:
        sys.stdout.buffer.write(message.topic + b" " + message.payload + b"\n")
    else:
        fields: dict[str, str] = {"topic": message.topic.decode(errors="replace")}
        try:
            fields["payload"] = message.payload.decode()
        except UnicodeDecodeError:
            fields["payload_base64"] = base64.b64encode(message.payload).decode()
        if message.reply:
            fields["reply"] = message.reply.decode(errors="replace")
        if message.headers:
            fields["headers"] = message.headers.decode(errors="replace")
        sys.stdout.buffer.write(json.dumps(fields).encode() + b"\n")
    sys.stdout.buffer.flush()


def converse(server: Server, timeout: float | None, speak: Callable[[Any], Any], *, endless: bool = False) -> None:
    """Connect, log in, speak, and turn what goes wrong into an exit code."""
    from brokerkit.cli import conversation

    with exit_codes(server, timeout, endless=endless):
        conversation.converse(server, timeout, speak)


@contextmanager
def exit_codes(server: Server, timeout: float | None, *, endless: bool = False) -> Iterator[None]:
    """Turn what goes wrong in a conversation into a line and an exit code.

    What is ``endless`` ends well by an interruption.
    """
    from brokerkit.cli.conversation import Interrupted, Refused, TimedOut, Unreachable

    try:
        yield
    except Unreachable as error:
        where = f"{server.protocol}://{server.host}:{server.port}"
        raise fail(UNREACHABLE, f"{where} cannot be reached: {error}") from None
    except Refused as error:
        raise fail(REFUSED, f"the broker refused: {error}{_nobody(server)}") from None
    except TimedOut:
        raise fail(LATE, f"time is up ({timeout} s)") from None
    except Interrupted:
        if not endless:
            raise SystemExit(INTERRUPTED) from None
    except OperatorError as error:
        raise fail(WRONG, str(error)) from None


def _nobody(server: Server) -> str:
    """Say so where no user was named and there is no demo user: what the broker answers does not."""
    if server.name or server.secret:
        return ""
    return f"; no user was given: try --server {server.protocol}://USER:SECRET@{server.host}:{server.port}"
