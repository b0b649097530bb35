"""``brokerkit produce``: keep a value, the lines of a file, or what comes in by a pipe, each once.

Requests are numbered: one that got no answer is sent again, and the broker keeps it once.  Lines that come slowly go on
their way at once; many go together.
"""

from __future__ import annotations

import json
import os
import select
import sys
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli.kept_options import talk_options
from brokerkit.cli.kept_talk import Refused
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.cli.kept_talk import Talk

TOGETHER, TOGETHER_BYTES = 1000, 1024 * 1024  # records and bytes in one request
LINGER = 0.1  # seconds that lines wait for others
LONGEST = 8 * 1024 * 1024  # bytes of a line
LINES_KIND = "application/x-ndjson"
CHUNK = 256 * 1024


@click.command()
@click.argument("topic")
@click.argument("value", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False), help="Read this, in place of standard input.")
@click.option("--ndjson", is_flag=True, help="Lines are records in JSON, as `consume --json` writes them.")
@click.option("--raw", is_flag=True, help="All of the input is one value.")
@click.option("-k", "--record-key", "record_key", help="Key of each record.")
@click.option("--separator", help="What stands between key and value in each line.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Header of each record.")
@click.option("-p", "--partition", type=click.IntRange(min=0), help="Where to put them; else as the topic says.")
@click.option("--json", "as_json", is_flag=True, help="Say what was kept as JSON, one line for each request.")
@talk_options
def produce(
    topic: str,
    value: str | None,
    file: str | None,
    ndjson: bool,
    raw: bool,
    record_key: str | None,
    separator: str | None,
    headers: tuple[str, ...],
    partition: int | None,
    as_json: bool,
    talk: Talk,
) -> None:
    """Keep VALUE in TOPIC; without it, each line of standard input is a record.

    Succeeds when the broker has all of it on disk (or as the topic says).
    """
    if [value is not None, ndjson, raw].count(True) > 1 or (value is not None and file):
        raise click.UsageError("VALUE, --file with --ndjson, and --file with --raw: give one way to say what to keep")
    if separator is not None and (record_key is not None or ndjson or raw or value is not None or not separator):
        raise click.UsageError("--separator is for lines, without --record-key")
    if ndjson and (record_key is not None or headers or partition is not None):
        raise click.UsageError("--ndjson says key, headers and partition of each record itself")
    shaping = Shaping(record_key, separator, tuple(map(_header, headers)), partition, ndjson=ndjson)
    sending = Sending(talk, topic, as_json=as_json)
    if value is not None:
        sending.send([shaping.record(value.encode())])
    elif raw:
        sending.send([shaping.record(_whole(file))])
    else:
        _lines(file, shaping, sending)
    if not as_json:
        click.echo(f"{topic}: {sending.kept} records", err=True)


def _header(text: str) -> dict[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise click.UsageError(f"--header {text}: expected NAME=VALUE")
    return {"name": name, "value": value}


@attrs.frozen
class Shaping:
    """How a line becomes a record."""

    key: str | None
    separator: str | None
    headers: tuple[dict[str, str], ...]
    partition: int | None
    ndjson: bool

    def record(self, data: bytes) -> bytes:
        """Give a record as a line of JSON; raise ``OperatorError`` for a line without a separator."""
        if self.ndjson:
            return _unplaced(data)
        found: dict[str, Any] = {}
        if self.separator is not None:
            before, mark, data = data.partition(self.separator.encode())
            if not mark:
                raise OperatorError(f"a line has no {self.separator!r} in it: {_shortened(data or before)}")
            found |= _said("key", before)
        elif self.key is not None:
            found["key"] = self.key
        found |= _said("value", data)
        if self.headers:
            found["headers"] = list(self.headers)
        if self.partition is not None:
            found["partition"] = self.partition
        return json.dumps(found).encode()


def _unplaced(line: bytes) -> bytes:
    """Give a record that was read elsewhere without the topic that it was in."""
    try:
        record = json.loads(line)
    except ValueError:
        raise OperatorError(f"a line is no JSON: {_shortened(line)}") from None
    if not isinstance(record, dict):
        raise OperatorError(f"a line is no JSON object: {_shortened(line)}")
    record.pop("topic", None)
    return json.dumps(record).encode()


def _shortened(data: bytes) -> str:
    return ascii(data[:60].decode(errors="replace"))


def _said(name: str, data: bytes) -> dict[str, str]:
    from base64 import b64encode

    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: b64encode(data).decode(), f"{name}_encoding": "base64"}


@attrs.define
class Sending:
    """Sends records in numbered requests, and counts what was kept."""

    talk: Talk
    topic: str
    as_json: bool
    kept: int = 0
    _id: str = attrs.field(factory=lambda: token_urlsafe(12))
    _sequence: int = 0

    def send(self, lines: list[bytes]) -> None:
        """Send some; raise ``Refused``, ``Unreachable``."""
        headers = {
            "content-type": LINES_KIND,
            "producer-id": self._id,
            "producer-epoch": "0",
            "producer-sequence": str(self._sequence),
        }
        path = ("topics", self.topic, "records")
        reply = self.talk.ask("POST", path, body=b"\n".join(lines), headers=headers, again=True)
        try:
            answer = reply.see().json()
        except Refused as refused:
            raise Refused(refused.status, f"{refused} ({self.kept} records were kept before)") from None
        self._sequence += 1
        self.kept += answer["kept"]
        if self.as_json:
            click.echo(json.dumps(answer))


def _whole(file: str | None) -> bytes:
    if file is None:
        return sys.stdin.buffer.read()
    with open(file, "rb") as opened:  # noqa: PTH123  one way for both
        return opened.read()


def _lines(file: str | None, shaping: Shaping, sending: Sending) -> None:
    """Send line by line, with a bar where it is known how much there is and somebody looks."""
    with _opened(file) as (descriptor, size):
        bar = _Bar(size)
        with bar:
            for batch, length in _batches(descriptor):
                records = [shaping.record(line) for line in batch if line or not shaping.ndjson]
                if records:
                    sending.send(records)
                bar.advance(length)


class _opened:  # noqa: N801  a context manager, used as a function
    """Give a descriptor to read from, and how many bytes it has, 0 where that is not known."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._descriptor = -1

    def __enter__(self) -> tuple[int, int]:
        if self._file is not None:
            self._descriptor = os.open(self._file, os.O_RDONLY)
            return self._descriptor, os.fstat(self._descriptor).st_size
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError):  # no real standard input: all of it is there
            reader, writer = os.pipe()
            _pour(sys.stdin.buffer.read(), writer)
            self._descriptor = reader
            return reader, 0
        return descriptor, os.fstat(descriptor).st_size

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _pour(data: bytes, writer: int) -> None:
    """Write into a pipe from a thread, since it does not take all at once."""
    from threading import Thread

    def pour() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(data)

    Thread(target=pour, daemon=True).start()


def _batches(descriptor: int) -> Iterator[tuple[list[bytes], int]]:
    """Give lines, many together where there are many, and the bytes that they came from; raise ``OperatorError``."""
    lines: list[bytes] = []
    rest, size = b"", 0
    while True:
        if lines and not select.select([descriptor], [], [], LINGER)[0]:
            yield lines, size
            lines, size = [], 0
            continue
        data = os.read(descriptor, CHUNK)
        if not data:
            break
        size += len(data)
        *whole, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST:
            raise OperatorError(f"a line is longer than {LONGEST} bytes")
        lines += whole
        while len(lines) >= TOGETHER or sum(map(len, lines)) >= TOGETHER_BYTES:
            count = _fitting(lines)
            yield lines[:count], size
            lines, size = lines[count:], 0
    if rest:
        lines.append(rest)
    while lines:
        count = _fitting(lines)
        yield lines[:count], size
        lines, size = lines[count:], 0


def _fitting(lines: list[bytes]) -> int:
    """Give how many of the first lines go into one request: at least one."""
    size = 0
    for count, line in enumerate(lines[:TOGETHER]):
        size += len(line)
        if size > TOGETHER_BYTES and count:
            return count
    return min(len(lines), TOGETHER)


class _Bar:
    """A bar on standard error, where that is a terminal and it is known how long the input is."""

    def __init__(self, size: int) -> None:
        self._progress: Any = None
        if size > TOGETHER_BYTES and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("produce", total=size)

    def __enter__(self) -> None:
        if self._progress is not None:
            self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, size: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._task, size)
