"""``bpclient list``, ``watch`` and ``wait-for``: what is there, what changes, and when something comes.

They ask questions that wait on the broker, one after the other, each from the revision on to which the one before came:
so nothing is missed when the connection breaks.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.bpclient_errors import Fatal
from brokerkit.cli.bpclient_shown import plain, show, show_rows
from brokerkit.cli.bpclient_talk import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.cli.bpclient_options import Session
    from brokerkit.cli.bpclient_talk import Reply, Talk

PAGE = 500  # entries in one answer
WAIT = 50.0  # seconds that one question waits
PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before another try
OK, GONE = 200, 410


@click.command("list")
@click.argument("prefix", default="")
@click.pass_obj
def list_(session: Session, prefix: str) -> None:
    """List the entries whose names begin with PREFIX: their names, or the columns that --cols says.

    Columns: name, data, revision, created, version, last_write_ip, last_write_ts, last_write_by, ttl, expires.
    """
    talk = session.talk()
    columns = session.columns or (("name",) if session.form == "text" else ("name", "data"))
    form, after = session.form, ""
    while True:
        page = _read(talk.modern("GET", ("kv",), {"prefix": prefix, "after": after, "limit": PAGE}))
        rows = [{**entry, "data": plain(entry["data"])} for entry in page["entries"]]
        if rows or not after:
            show_rows(rows, form, columns)
        if page.get("next") is None:
            return
        after = page["next"]
        form = "csv-noheader" if form == "csv" and rows else form


def _read(reply: Reply) -> dict[str, Any]:
    """Give the object of an answer; raise ``Fatal``."""
    if reply.status != OK:
        raise refusal(reply)
    try:
        found = reply.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Fatal("the answer is no JSON object")
    return found


@click.command()
@click.argument("name", default="")
@click.option("--prefix", help="Watch all whose names begin with this.")
@click.option("--since", type=click.IntRange(min=0), help="Begin after this revision, and not with what is there.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many lines.")
@click.pass_obj
def watch(session: Session, name: str, prefix: str | None, since: int | None, count: int | None) -> None:
    """Write what is there, and then each change, until interrupted; NAME is one entry, without it all.

    As text a line is: revision, put, delete or expire, name, data, with tabs between; as JSON it is an object.
    """
    if name and prefix is not None:
        raise click.UsageError("give NAME or --prefix, not both")
    wanted: dict[str, object] = {"name": name} if name else {"prefix": prefix or ""}
    talk, index, left = session.talk(), since, count
    tries = _Tries(talk)
    while left is None or left > 0:
        if index is None:
            page = tries.read(wanted)
            lines = [{"operation": "put", "name": one["name"], "record": one} for one in page["entries"]]
            lines.sort(key=lambda one: int(one["record"]["revision"]))
        else:
            page = tries.read({**wanted, "index": index, "wait": WAIT}, WAIT)
            lines = page.get("changes", [])
        if page.get("gone"):
            click.echo("bpclient: changes were missed; what is there now follows", err=True)
            index = None
            continue
        for line in lines[:left]:
            _show_change(line, session)
        left = None if left is None else left - len(lines)
        index = int(page["index"])


def _show_change(line: dict[str, Any], session: Session) -> None:
    record = line["record"]
    data = plain(record["data"]) if line["operation"] == "put" else None
    row = {**record, "revision": line.get("revision", record["revision"]), "operation": line["operation"]}
    columns = session.columns or ("revision", "operation", "name", "data")
    form = "csv-noheader" if session.form == "csv" else session.form
    show_rows([{**row, "data": data}], form, columns)


class _Tries:
    """Asks what changes, again and again where the broker cannot be reached."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._reached = False

    def read(self, query: Mapping[str, object], longer: float = 0.0, until: float | None = None) -> dict[str, Any]:
        """Give an answer, ``{"gone": True}`` for what is not known any more; raise ``Fatal``.

        ``until`` is when to give up; without it only a broker that was never reached is given up.
        """
        pause = PAUSE
        while True:
            try:
                reply = self._talk.modern("GET", ("watch",), query, longer=longer * 17 / 16)
            except Fatal as error:
                if until is None and not self._reached:
                    raise
                if until is not None and time.monotonic() + pause >= until:
                    raise
                click.echo(f"bpclient: {error}; trying again in {pause:g} s", err=True)
            else:
                self._reached = True
                if reply.status == GONE:
                    return {"gone": True}
                if reply.status < 500:  # noqa: PLR2004  what the broker cannot do now, it may soon
                    return _read(reply)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


@click.command("wait-for")
@click.argument("name", default="")
@click.option("--name", "same", help="The name, said in the way of the other commands.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at the most; for ever if not said.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show the entry.")
@click.pass_obj
def wait_for(session: Session, name: str, same: str | None, timeout: float | None, *, quiet: bool) -> None:
    """Wait until there is an entry NAME, and show it; exit with 1 if the time is over before."""
    if bool(name) == bool(same):
        raise click.UsageError("give NAME once")
    name = name or same or ""
    until = time.monotonic() + (timeout if timeout is not None else 10.0**9)
    try:
        found = _wait(session, name, until)
    except _Original:
        found = _poll(session, name, until)
    if found is None:
        raise Fatal(f"Entry '{name}' not found within {timeout:g} seconds")
    if not quiet:
        show(plain(found), session.form, session.columns)


class _Original(Exception):
    """The broker is an original one."""


def _wait(session: Session, name: str, until: float) -> dict[str, Any] | None:
    """Give the record when it is there, ``None`` when the time is over; raise ``_Original``."""
    talk = session.talk()
    tries, index = _Tries(talk), None
    while True:
        wait = max(0.0, min(WAIT, until - time.monotonic()))
        query: dict[str, object] = {"name": name}
        if index is not None:
            query |= {"index": index, "wait": round(wait, 3)}
        try:
            page = tries.read(query, 0.0 if index is None else wait, until)
        except Fatal as error:
            if "original" in str(error):
                raise _Original from None
            raise
        entries = [*page.get("entries", ()), *(one["record"] for one in page.get("changes", ()) if _is_put(one))]
        if entries:
            return _as_original(entries[-1])
        if time.monotonic() >= until:
            return None
        index = None if page.get("gone") else page["index"]


def _is_put(change: dict[str, Any]) -> bool:
    return bool(change["operation"] == "put")


def _as_original(entry: dict[str, Any]) -> dict[str, Any]:
    """Give an entry as ``service get`` shows it."""
    return {**entry["data"], "last_write_ip": entry["last_write_ip"], "last_write_ts": entry["last_write_ts"]}


def _poll(session: Session, name: str, until: float) -> dict[str, Any] | None:
    """Do it with a broker that can only be asked again and again."""
    while True:
        reply = session.talk().method("services", "Get", name=name)
        with suppress(ValueError, AttributeError):
            said = reply.json()
            if said.get("success"):
                record: dict[str, Any] = said["data"]
                return record
        if reply.status != OK:
            raise refusal(reply)
        if time.monotonic() + 1 >= until:
            return None
        time.sleep(1)
