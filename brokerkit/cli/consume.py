"""``brokerkit consume``: print what a topic holds, from any place on, and go on as it grows; or as a member of a group.

It asks for page after page, each from where the one before ended, so nothing is lost or printed twice when the
connection breaks.  As a member of a group it commits what it has printed when it asks for more, and when it ends.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli.kept_options import Late, talk_options
from brokerkit.cli.kept_talk import Refused, Unreachable
from brokerkit.errors import BrokerError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    Pages = Generator[list[dict[str, Any]], None, None]

    from brokerkit.cli.kept_talk import Talk

PAGE = 1000  # records
WAIT = 20.0  # seconds that one request waits
_GONE = 404


class NobodyReads(BrokerError):
    """Whoever read standard output has gone: no error, but the end."""


@click.command()
@click.argument("topic")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help="first, last, latest, an offset, -N (from the end), a cursor, or a moment; first if not said.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many records.")
@click.option("-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Read this one only.")
@click.option("-g", "--group", help="Read as a member of this group, and commit what was printed.")
@click.option("--member", default="", help="Be this member of the group; a new one if not said.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), help="Seconds after which it ends, with 4 if --count is not met."
)
@click.option("--json", "as_json", is_flag=True, help="Print records as JSON, one a line (NDJSON).")
@click.option("--raw", is_flag=True, help="Print values as they are, with nothing between.")
@talk_options
def consume(
    topic: str,
    start: str | None,
    follow: bool,
    count: int | None,
    partitions: tuple[int, ...],
    group: str | None,
    member: str,
    timeout: float | None,
    as_json: bool,
    raw: bool,
    talk: Talk,
) -> None:
    """Print the records of TOPIC: their values, one a line.

    Ends where the topic ends now, unless it is to follow, or to wait for COUNT records.
    """
    if as_json and raw:
        raise click.UsageError("--json and --raw: give one of them")
    if group is not None and partitions:
        raise click.UsageError("--partition: a group shares partitions out by itself")
    if group is None and member:
        raise click.UsageError("--member: of which --group?")
    output = Output(as_json=as_json, raw=raw)
    until = None if timeout is None else time.monotonic() + timeout
    reading = Reading(talk, topic, follow or (count is not None and until is not None), until, count)
    records = (
        reading.pages(_beginning(start, partitions))
        if group is None
        else reading.group(group, member, "first" if start in {None, "first", "earliest"} else "last")
    )
    try:
        for page in records:
            output.take(page)
            reading.printed(len(page))
    except NobodyReads:
        return
    except KeyboardInterrupt:
        if not follow:
            raise
        return
    finally:
        records.close()
    if reading.left and until is not None and time.monotonic() >= until:
        raise Late(f"time is up ({timeout:g} s), and {reading.left} records have not come")


def _beginning(start: str | None, partitions: tuple[int, ...]) -> dict[str, object]:
    """Give the parameters of the first page."""
    query: dict[str, object] = {}
    if partitions:
        query["partitions"] = ",".join(map(str, partitions))
    if start is None:
        query["offset"] = "first"
    elif ":" in start and start.replace(":", "").replace(",", "").isdigit():
        query["cursor"] = start
    elif start.lstrip("-").isdigit() and start.count("-") < 2:  # noqa: PLR2004  a date has two
        query["offset"] = start
    elif start[:1].isdigit():
        query["at"] = start
    else:
        query["offset"] = start
    return query


@attrs.define
class Reading:
    """Reads one topic; ``endless`` goes on where it ends, up to the moment ``until``; ``left`` is how many to read."""

    talk: Talk
    topic: str
    endless: bool
    until: float | None
    left: int | None = None
    _unprinted: bool = False

    def _left(self) -> float:
        return WAIT if self.until is None else max(0.0, min(WAIT, self.until - time.monotonic()))

    def _is_over(self) -> bool:
        return self.left == 0 or (self.until is not None and time.monotonic() >= self.until)

    def _most(self) -> int:
        return PAGE if self.left is None else min(PAGE, self.left)

    def printed(self, count: int) -> None:
        """Take note that what was given last has been printed."""
        self._unprinted = False
        if self.left is not None:
            self.left -= count

    def pages(self, query: dict[str, object]) -> Pages:
        """Give page after page; raise ``Refused``, ``Unreachable``."""
        path = ("topics", self.topic, "records")
        while not self._is_over():
            wait = round(self._left(), 3) if self.endless and "cursor" in query else 0.0
            given = {**query, "max_records": self._most(), **({"wait": wait} if wait else {})}
            reply = self.talk.ask("GET", path, given, longer=wait, again=True).see().json()
            query = {**query, "cursor": reply["cursor"]}
            for name in ("offset", "at"):
                query.pop(name, None)
            if reply["records"]:
                yield reply["records"]
            elif not reply["more"] and not self.endless:
                return

    def group(self, group: str, member: str, start: str) -> Pages:
        """Give what a member of a group gets; what was given is committed with the next request, and at the end."""
        mine = Mine(self.talk, group, member, {"topics": [self.topic], "start": start})
        mine.join()
        try:
            while not self._is_over():
                wait = round(self._left(), 3) if self.endless else 1.0
                records = mine.poll(wait, self._most())
                if records:
                    self._unprinted = True
                    yield records
                elif not self.endless:
                    return
        finally:
            with suppress(Refused, Unreachable):
                mine.leave(commit=not self._unprinted)


@attrs.define
class Mine:
    """One member of a group, which joins again when its lease has expired."""

    talk: Talk
    name: str
    member: str
    wishes: dict[str, Any]
    _seen: int | None = None
    _given: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def _path(self) -> tuple[str, ...]:
        return ("groups", self.name, "members", self.member)

    def join(self) -> None:
        """Join."""
        body = json.dumps({**self.wishes, **({"member": self.member} if self.member else {})}).encode()
        headers = {"content-type": "application/json"}
        reply = self.talk.ask("POST", ("groups", self.name, "members"), body=body, headers=headers)
        self.member = reply.see().json()["member"]
        self._seen = None

    def poll(self, wait: float, most: int) -> list[dict[str, Any]]:
        """Commit what was given before, and give more."""
        query: dict[str, object] = {"max_records": most, "wait": wait, "commit": "true"}
        if self._seen is not None:
            query["seen"] = self._seen
        reply = self.talk.ask("POST", (*self._path, "poll"), query, longer=wait, again=True)
        if reply.status == _GONE:
            self.join()
            return self.poll(wait, most)
        answer = reply.see().json()
        self._seen, self._given = answer["number"], answer["offsets"]
        records: list[dict[str, Any]] = answer["records"]
        return records

    def leave(self, *, commit: bool) -> None:
        """Commit all that was given, and go."""
        if commit and self._given:
            body = json.dumps({"member": self.member, "offsets": self._given}).encode()
            headers = {"content-type": "application/json"}
            self.talk.ask("POST", ("groups", self.name, "offsets"), body=body, headers=headers)
        self.talk.ask("DELETE", self._path)


@attrs.define
class Output:
    """Standard output; nothing that a sender has chosen moves the cursor of a terminal."""

    as_json: bool
    raw: bool

    def take(self, records: Iterable[dict[str, Any]]) -> None:
        """Print some records."""
        try:
            sys.stdout.buffer.write(b"".join(map(self._spelled, records)))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more at its exit
            raise NobodyReads from None
        except OSError as error:
            raise OperatorError(f"standard output: {error.strerror}") from None

    def _spelled(self, record: dict[str, Any]) -> bytes:
        if self.as_json:
            return json.dumps(record).encode() + b"\n"
        value = record["value"]
        data = b"" if value is None else value.encode()
        if record.get("value_encoding") == "base64":
            data = base64.b64decode(value)
        if self.raw:
            return data
        return (_printable(data) if sys.stdout.isatty() else data) + b"\n"


def _printable(data: bytes) -> bytes:
    text = data.decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text.encode()
