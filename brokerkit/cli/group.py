"""``brokerkit group``: consumer groups, listed, described with their lag, moved to other offsets, and deleted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.kept_options import talk_options

if TYPE_CHECKING:
    from brokerkit.cli.kept_talk import Talk

JSON = {"content-type": "application/json"}
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def group() -> None:
    """Look at consumer groups, and move them."""


@group.command("list")
@_json
@talk_options
def list_(as_json: bool, talk: Talk) -> None:
    """Print the names of all groups."""
    names = talk.ask("GET", ("groups",), again=True).see().json()["groups"]
    if as_json:
        click.echo(json.dumps(names))
    else:
        for name in names:
            click.echo(name)


@group.command()
@click.argument("name")
@_json
@talk_options
def describe(name: str, as_json: bool, talk: Talk) -> None:
    """Print the members of a group, what it has committed, and how far it is behind."""
    found = talk.ask("GET", ("groups", name), again=True).see().json()
    if as_json:
        click.echo(json.dumps(found))
        return
    members, whose = len(found["members"]), f" of {_printable(found['owner'])}" if found.get("owner") else ""
    state = f"{found['state']}, generation {found['generation']}, {members} members, lag {found['lag']}"
    click.echo(f"{name}{whose}: {state}")
    for member in found["members"]:
        ends = datetime.fromtimestamp(member["expires"] / 1000, UTC)
        places = ", ".join(f"{one['topic']}/{one['partition']}" for one in member["assigned"]) or "nothing"
        click.echo(f"  {member['member']} from {member['client_host']} reads {places}; lease ends {ends:%H:%M:%S} UTC")
    _table(
        [("TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER")]
        + [
            (
                one["topic"],
                str(one["partition"]),
                _shown(one["offset"]),
                str(one["next"]),
                _shown(one["lag"]),
                _shown(one["member"]),
            )
            for one in found["offsets"]
        ]
    )


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _table(rows: list[tuple[str, ...]]) -> None:
    if len(rows) == 1:
        return
    rows = [tuple(_printable(one) for one in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


@group.command()
@click.argument("name")
@click.option("--to", metavar="WHERE", help="first, last, or an offset.")
@click.option("--at", metavar="MOMENT", help="The first record of that time: ms since 1970, or 2026-01-31T12:00:00Z.")
@click.option("--shift", type=int, metavar="N", help="So many records on, or back if it is negative.")
@click.option("-t", "--topic", "topics", multiple=True, help="Of this topic; of all that is committed if not said.")
@click.option("-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Of this one only.")
@click.option("--force", is_flag=True, help="Also if the group has members: they go on from there.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@_json
@talk_options
def reset(
    name: str,
    to: str | None,
    at: str | None,
    shift: int | None,
    topics: tuple[str, ...],
    partitions: tuple[int, ...],
    force: bool,
    dry_run: bool,
    as_json: bool,
    talk: Talk,
) -> None:
    """Move a group to other offsets."""
    if [to is not None, at is not None, shift is not None].count(True) != 1:
        raise click.UsageError("--to, --at or --shift: give one of them")
    said: dict[str, Any] = {"force": force, "dry_run": dry_run}
    if to is not None:
        said["to"] = int(to) if to.isascii() and to.isdigit() else to
    if at is not None:
        said["at"] = at
    if shift is not None:
        said["shift"] = shift
    if topics:
        said["topics"] = list(topics)
    if partitions:
        said["partitions"] = list(partitions)
    reply = talk.ask("POST", ("groups", name, "reset"), body=json.dumps(said).encode(), headers=JSON)
    moved = reply.see().json()
    if as_json:
        click.echo(json.dumps(moved))
        return
    _table(
        [("TOPIC", "PARTITION", "FROM", "TO")]
        + [(one["topic"], str(one["partition"]), _shown(one["from"]), str(one["to"])) for one in moved["offsets"]]
    )
    if dry_run:
        click.echo("nothing was moved", err=True)


@group.command()
@click.argument("name")
@talk_options
def delete(name: str, talk: Talk) -> None:
    """Forget a group that has no members, and what it has committed."""
    talk.ask("DELETE", ("groups", name)).see()
    click.echo(f"{name}: deleted", err=True)
