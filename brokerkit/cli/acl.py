"""``brokerkit acl explain``: whether a user may do something, by which rule, and where that stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.actions import REGISTRY
from brokerkit.cli.sources import asked_for, configuration, lines, source_options
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.config import Config, Listen
    from brokerkit.explain import Decision
    from brokerkit.notation import Name, Notations
    from brokerkit.reserved import Reserved

WRONG = 2
EXITS = {"ALLOW": 0, "DENY": 1, "UNKNOWN": 3}


@click.group()
def acl() -> None:
    """Find out who may do what."""


@acl.command()
@click.argument("user")
@click.argument("action")
@click.argument("name")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(
    user: str,
    action: str,
    name: str,
    config: str | None,
    data_dir: str | None,
    auth: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say whether USER may do ACTION (publish, subscribe, registry.read ...) with NAME, and why.

    NAME is a topic or a pattern such as honeypot.>, or a name as a protocol has it: hpfeeds:dionaea, nats:honeypot.>,
    kafka:topic/0.  For registry.read and registry.write it is the name of an entry.  Without --config or --auth the
    sources are those of `brokerkit run`.

    The exit code is 0 for ALLOW, 1 for DENY, 2 for a wrong command line and 3 if a source cannot be asked.
    """
    from brokerkit.cli.asking import react
    from brokerkit.notation import Notations
    from brokerkit.plugin import protocols

    try:
        plugins = protocols()
        _check(action, plugins.values())
        told = configuration(config, data_dir, auth)
        who = asked_for(user)
        notations = Notations(plugins, told.listen)
        asked = _entry(name) if action in REGISTRY else notations.read(name)
    except OperatorError as error:
        raise _fail(WRONG, error) from None
    try:
        decision = react(lambda reactor: _decide(reactor, told, who, action, asked))
    except OperatorError as error:
        raise _fail(EXITS["UNKNOWN"], error) from None
    click.echo(json.dumps(_fields(decision, notations)) if as_json else _text(decision, notations))
    raise SystemExit(EXITS[decision.verdict])


def _fail(code: int, error: OperatorError) -> SystemExit:
    click.echo(f"brokerkit: {error}", err=True)
    return SystemExit(code)


def _check(action: str, plugins: Iterable[Any]) -> None:
    from twisted.plugin import getPlugins

    from brokerkit.actions import actions, check_action
    from brokerkit.config import FLAGS
    from brokerkit.interfaces import ICheckerPlugin

    check_action(action, actions([*plugins, *getPlugins(ICheckerPlugin)]), FLAGS, "ACTION")


async def _decide(reactor: Any, told: Config, user: bytes, action: str, name: Name) -> Decision:  # noqa: ANN401
    from brokerkit.cli.asking import Opened
    from brokerkit.explain import ask, explain

    opened = Opened(told, reactor)
    await opened.start()
    try:
        answers = await ask(opened.sources, user, reactor)
        decision = explain(answers, user, action, name, reactor.seconds(), told.tenants, _reserved(told))
    finally:
        await opened.close()
    return attrs.evolve(decision, notes=(*decision.notes, *_barred(told.listen, action)))


def _entry(text: str) -> Name:
    """Give the name of an entry of the registry, as rights have it."""
    from brokerkit.notation import Name
    from brokerkit.registry.naming import topic

    if not text:
        raise OperatorError("an empty name: expected the name of an entry, such as web-1")
    return Name(topic(text), literal=True, text=text)


def _reserved(told: Config) -> Reserved | None:
    """Give what the broker keeps of the topics for itself: what has to do with the registry, where it has one."""
    from brokerkit.plugin import protocols
    from brokerkit.registry.announce import reserved

    plugins = protocols()
    has = any(REGISTRY[0] in getattr(plugins[listen.protocol], "actions", {}) for listen in told.listen)
    return reserved(told.registry_prefix.encode()) if has and told.registry_prefix else None


def _barred(listens: Iterable[Listen], action: str) -> list[str]:
    """Say at which listeners nobody may do that, whatever the rules are."""
    from brokerkit.endpoints import said
    from brokerkit.entrance import barred

    notes = []
    for number, listen in enumerate(listens):
        mode = said(listen.endpoint, listen.protocol).mode or listen.mode
        if action in barred(mode, listen.protocol):
            notes.append(
                f"nobody may do it at listen[{number}], {listen.protocol} {listen.endpoint}: its mode is {mode}"
            )
    return notes


def _text(decision: Decision, notations: Notations) -> str:
    from brokerkit.notation import shown

    kind = "" if decision.name.literal else "all of "
    first = f"{decision.verdict}  {shown(decision.user)}: {decision.action} {kind}{decision.name.shown}"
    pairs = [("because", decision.text)]
    if decision.where:
        pairs.append(("where", decision.where))
    if decision.source and decision.source != decision.where:
        pairs.append(("source", decision.source))
    pairs += [("note", note) for note in decision.notes]
    pairs += [(f"in {word}", text) for word, text in notations.spell(decision.name).items() if text is not None]
    pairs += [("to allow it", step) for step in decision.remedies]
    return f"{first}\n{lines(pairs)}"


def _fields(decision: Decision, notations: Notations) -> dict[str, object]:
    from brokerkit.notation import shown

    rule = decision.rule
    return {
        "verdict": decision.verdict,
        "user": shown(decision.user),
        "action": decision.action,
        "topic": decision.name.shown,
        "literal": decision.name.literal,
        "because": decision.text,
        "rule": None if rule is None else {"name": shown(rule.name), "literal": rule.literal},
        "source": decision.source,
        "where": decision.where,
        "notes": list(decision.notes),
        "names": notations.spell(decision.name),
        "to_allow": list(decision.remedies),
    }
