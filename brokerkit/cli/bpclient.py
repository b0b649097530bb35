"""``brokerkit bpclient``: the client of the registry, with the original's commands, output and exit codes.

It works with brokers of the original, too, as far as those can do what is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.bpclient_discover import discover
from brokerkit.cli.bpclient_errors import NOT_FOUND, Fatal, FatalGroup
from brokerkit.cli.bpclient_lock import lock
from brokerkit.cli.bpclient_options import Session, session_options
from brokerkit.cli.bpclient_shown import plain, say, show, show_reply
from brokerkit.cli.bpclient_talk import refusal
from brokerkit.cli.bpclient_watch import list_, wait_for, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.cli.bpclient_talk import Reply

_METHOD = re.compile(r"(.+)\.(.+)", re.DOTALL)
_OK = 200

_name = click.option("--name", required=True, help="Name of the entry.")
_data = click.option("--data", required=True, help="Text, or a JSON object.")
_raw = click.option("--raw", is_flag=True, help="Show the whole answer.")


@click.group("bpclient", cls=FatalGroup, context_settings={"help_option_names": ["-h", "--help"]})
@session_options
@click.pass_context
def bpclient(ctx: click.Context, session: Session) -> None:
    """Find brokers, and read and write what they keep.

    These options stand before the command.
    """
    ctx.obj = session


@click.command()
@click.option("--data", default="", help="What the broker shall give back.")
@_raw
@click.pass_obj
def ping(session: Session, data: str, *, raw: bool) -> None:
    """Have the broker give something back."""
    reply = session.talk().method("ping", "Ping", data=data)
    said = _said(reply)
    if raw:
        show_reply(said, session.form, session.columns)
    else:
        show(plain(said.get("data")), session.form, session.columns)


@click.group()
def service() -> None:
    """Read and write entries of the registry."""


def _call(session: Session, method: str, raw: bool, **parameters: str) -> None:
    said = _said(session.talk().method("services", method, **parameters))
    if not said.get("success"):
        text = str(said.get("message", "the broker refuses"))
        raise Fatal(text, NOT_FOUND if text.endswith("not found") else 1)
    if raw:
        show_reply(said, session.form, session.columns)
    elif method != "Delete":
        show(plain(said.get("data")), session.form, session.columns)


def _said(reply: Reply) -> dict[str, Any]:
    """Give the object that an answer is; raise ``Fatal`` if it is none or says no."""
    if reply.status != _OK:
        raise refusal(reply)
    try:
        said = reply.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Fatal("the answer is no JSON object")
    return said


def _writing(method: str, text: str) -> Callable[..., None]:
    """Make a command that writes an entry."""

    @service.command(method.lower(), help=text)
    @_name
    @_data
    @_raw
    @click.pass_obj
    def command(session: Session, name: str, data: str, *, raw: bool) -> None:
        _call(session, method, raw, name=name, data=data)

    return command


_writing("Register", "Create an entry that is not there yet.")
_writing("Replace", "Create or replace an entry.")
_writing("Update", "Create an entry, or add members to it.")


@service.command()
@_name
@_raw
@click.pass_obj
def get(session: Session, name: str, *, raw: bool) -> None:
    """Show an entry."""
    _call(session, "Get", raw, name=name)


@service.command()
@_name
@_raw
@click.pass_obj
def delete(session: Session, name: str, *, raw: bool) -> None:
    """Delete an entry; one that is not there is no error."""
    _call(session, "Delete", raw, name=name)


@click.command()
@click.option("--method", required=True, metavar="PKG[.MOD].METHOD", help="What to run.")
@click.option("--data", required=True, help="What it gets.")
@click.pass_obj
def execute(session: Session, method: str, data: str) -> None:
    """Run a method of an extension on the broker, and show what it answers."""
    found = _METHOD.fullmatch(method)
    if found is None:
        raise Fatal(f"--method {method}: expected PKG.METHOD")
    reply = session.talk().method(found[1], found[2], data=data)
    if reply.status != _OK:
        fatal = refusal(reply)
        raise Fatal(f"Response Error {reply.status}: {fatal}", fatal.code)
    say(reply.body)


COMMANDS = (ping, service, execute, discover, list_, watch, wait_for, lock)
for one in COMMANDS:
    bpclient.add_command(one)
