"""``brokerkit topic``: the topics that a running broker keeps, listed, made, changed and deleted.

It speaks to the broker by the control socket in its data directory, so it is for whoever may read that directory.  (The
REST API does the same from elsewhere, for users who have the right.)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli.one_line import REFUSED, one_line, say
from brokerkit.keep import ACKS, MOST_PARTITIONS, PARTITIONERS, TIMESTAMPS
from brokerkit.place import default_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0  # seconds: to delete a large topic takes a while


@attrs.frozen
class Where:
    """Which broker is meant, in which tenant; and how the answer is printed."""

    directory: Path
    tenant: str
    as_json: bool

    def ask(self, what: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401  whatever can be said
        """Give the broker's answer; raise ``OperatorError``."""
        from brokerkit.control import tell

        return tell(self.directory, {"do": "topic", "what": what, "tenant": self.tenant, **said}, PATIENCE)

    def say(self, text: str, answer: dict[str, Any]) -> None:
        """Say what was done: to a person on stderr, or as JSON on stdout."""
        say(text, answer, as_json=self.as_json)


def _place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which broker is meant, handed over as one ``where``."""
    from functools import wraps

    @wraps(command)
    def with_where(*, data_dir: Path | None, tenant: str, as_json: bool, **others: Any) -> None:  # noqa: ANN401
        with one_line():
            command(where=Where(data_dir or default_directory(), tenant, as_json), **others)

    given: Callable[..., None] = with_where
    for option in (
        click.option("--data-dir", type=click.Path(path_type=Path), help="Data directory of the broker."),
        click.option("--tenant", default="", help="The tenant of the topic, if it is not that of all."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    ):
        given = option(given)
    return given


def _setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags for a topic's settings."""
    whole = click.IntRange(min=0)
    for option in (
        click.option("--partitions", type=click.IntRange(1, MOST_PARTITIONS), help="Can be added, never taken away."),
        click.option("--ack", type=click.Choice(ACKS), help="When a producer is answered; commit: when it is on disk."),
        click.option("--retention-bytes", type=whole, help="Bytes that a partition keeps; 0 for no bound."),
        click.option("--retention-seconds", type=click.FloatRange(min=0), help="How long records are kept."),
        click.option("--retention-messages", type=whole, help="Records that a partition keeps."),
        click.option("--compact/--no-compact", default=None, help="Keep only the last record of each key."),
        click.option("--timestamps", type=click.Choice(TIMESTAMPS), help="Whose time counts."),
        click.option("--partitioner", type=click.Choice(PARTITIONERS), help="For records that name no partition."),
        click.option("--max-message-bytes", type=click.IntRange(min=1), help="Bytes that one record may have."),
    ):
        command = option(command)
    return command


def _request(name: str, partitions: int | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Give what a request says: only what was given on the command line."""
    said: dict[str, Any] = {"name": name}
    if partitions is not None:
        said["partitions"] = partitions
    given = {key: value for key, value in settings.items() if value is not None}
    return {**said, "settings": given} if given else said


@click.group()
def topic() -> None:
    """List, make, change and delete the topics that a running broker keeps."""


@topic.command("list")
@_place_options
def list_(*, where: Where) -> None:
    """List the topics."""
    rows = list(_all(where))
    if where.as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    columns = ("NAME", "STREAM", "PARTITIONS", "RECORDS", "BYTES", "ACK", "COMPACT")
    _show_table(columns, [[_said(key, row[key.lower()]) for key in columns] for row in rows])


def _all(where: Where) -> Iterator[dict[str, Any]]:
    """Give all topics, page by page."""
    after = ""
    while after is not None:
        page = where.ask("list", after=after)
        yield from page["topics"]
        after = page["next"]


@topic.command()
@click.argument("name")
@click.option("--stream", help="The name of the order that it shares with others.")
@_setting_options
@_place_options
def create(*, where: Where, name: str, stream: str | None, partitions: int | None, **settings: Any) -> None:  # noqa: ANN401
    """Make the topic NAME: from now on what is published there, by any protocol, is kept."""
    request = _request(name, partitions, settings)
    made = where.ask("create", **request, **({"stream": stream} if stream else {}))
    where.say(f"{_shown(name)}: made, with {_counted(made['partitions'], 'partition')}", made)


@topic.command()
@click.argument("name")
@_setting_options
@_place_options
def alter(*, where: Where, name: str, partitions: int | None, **settings: Any) -> None:  # noqa: ANN401
    """Change settings of the topic NAME; what is not said stays."""
    request = _request(name, partitions, settings)
    if len(request) == 1:
        raise click.UsageError("say what to change; brokerkit topic alter --help lists it")
    answer = where.ask("alter", **request)
    where.say(f"{_shown(name)}: changed", answer)
    if answer["rule"] is not None and not where.as_json:
        text = "a [[keep]] rule names it, and counts again when the broker is started anew or reads its rules again"
        click.echo(text, err=True)


@topic.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_place_options
def delete(*, where: Where, name: str, yes: bool) -> None:
    """Delete the topic NAME, and everything that is kept of it."""
    if not yes and not click.confirm(f"Delete {_shown(name)} and all that is kept of it?", err=True):
        raise SystemExit(REFUSED)
    where.say(f"{_shown(name)}: deleted", where.ask("delete", name=name))


@topic.command()
@click.argument("name")
@_place_options
def describe(*, where: Where, name: str) -> None:
    """Show the settings of the topic NAME, and where its partitions begin and end."""
    answer = where.ask("describe", name=name)
    if where.as_json:
        click.echo(json.dumps(answer))
        return
    rows = [("name", _shown(answer["name"])), ("stream", answer["stream"]), ("partitions", str(answer["partitions"]))]
    rows += [(key, _said(key, value)) for key, value in answer["settings"].items()]
    rows.append(("kept by", ", ".join(answer["rule"]) if answer["rule"] else "its name"))
    rows += [(f"partition {i}", f"{first} to {after - 1}" if after > first else f"empty, next is {after}")
             for i, (first, after) in enumerate(answer["spans"])]  # fmt: skip
    if answer["partitions"] > len(answer["spans"]):
        rows.append(("", "and so on"))
    _show_table((), rows)


@topic.command()
@_place_options
def reload(*, where: Where) -> None:
    """Have the broker take the [[keep]] rules that stand in its configuration now."""
    answer = where.ask("reload")
    where.say(f"{_counted(answer['rules'], 'rule')} taken", answer)


def _said(key: str, value: object) -> str:
    """Give a setting for people: nought stands for no bound."""
    if key.startswith("retention_") and not value:
        return "no bound"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _shown(name: str) -> str:
    """Give a name for people."""
    from brokerkit.notation import shown

    return shown(name.encode(errors="surrogateescape"))


def _show_table(titles: tuple[str, ...], rows: list[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=bool(titles), header_style="bold")
    for title in titles or ("", ""):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_shown(cell)) for cell in row))
    Console(file=sys.stdout, soft_wrap=True, highlight=False).print(table, crop=False)
