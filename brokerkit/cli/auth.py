"""``brokerkit auth check``: tries sources of users, and says what each of them has to say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.actions import REGISTRY
from brokerkit.cli.sources import asked_for, configuration, lines, one_by_one, passed, source_options, without_secrets
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.checkers.known import Known
    from brokerkit.config import Config
    from brokerkit.grants import Rule

PROBLEM, WRONG = 1, 2
PATIENCE = 10.0  # seconds for one answer: a server may have to be connected to first
NOBODY = b"brokerkit-auth-check"  # a name to ask for where only asking shows whether there is an answer


@attrs.define
class Report:
    """What one source has said; ``users`` is their number, where it can be had."""

    source: str
    users: int | None = None
    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    user: dict[str, Any] | None = None
    anybody: bool = False


@click.group()
def auth() -> None:
    """Look at sources of users."""


@auth.command()
@source_options
@click.option("--user", metavar="NAME", help="Say what is known of this user, without its secrets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each source.")
def check(config: str | None, data_dir: str | None, auth: tuple[str, ...], user: str | None, as_json: bool) -> None:
    """Try sources of users, and say what was found.

    Without --config or --auth the sources are those of `brokerkit run`.  The exit code is 0 if all is well, 1 if a
    source cannot be used or asked, or none knows the user, and 2 for a wrong command line.
    """
    from brokerkit.cli.asking import react

    try:
        told = configuration(config, data_dir, auth)
        name = None if user is None else asked_for(user)
    except OperatorError as error:
        click.echo(f"brokerkit: {error}", err=True)
        raise SystemExit(WRONG) from None
    reports = react(lambda reactor: _check_all(reactor, told, name))
    for report in reports:
        click.echo(
            json.dumps(attrs.asdict(report, filter=lambda field, _: field.name != "anybody"))
        ) if as_json else _show(report)
    missing = user is not None and not any(report.user for report in reports)
    problem = any(report.problems for report in reports)
    if missing and not problem and not as_json:  # with a problem, nobody can say so
        click.echo(f"no source knows {user!r}")
    raise SystemExit(PROBLEM if missing or problem else 0)


async def _check_all(reactor: Any, told: Config, name: bytes | None) -> list[Report]:  # noqa: ANN401
    reports = [await _check_one(reactor, one, called, name) for called, one in one_by_one(told)]
    names = [report.source for report in reports]
    for index, report in enumerate(reports):
        if report.source in names[:index]:
            report.problems.append("named twice; a broker takes each source of users once")
    return reports


async def _check_one(reactor: Any, told: Config, called: str, name: bytes | None) -> Report:  # noqa: ANN401
    """Try one source; whatever goes wrong is in the report."""
    from brokerkit.cli.asking import Opened, Warnings

    report = Report(without_secrets(called))
    with Warnings() as report.warnings:
        try:
            opened = Opened(told, reactor)
            await opened.start()
        except OperatorError as error:
            report.problems.append(str(error))
            return report
        try:
            for source in opened.sources:
                await _question(reactor, source, report, name)
        finally:
            await opened.close()
    return report


async def _question(reactor: Any, source: Any, report: Report, name: bytes | None) -> None:  # noqa: ANN401
    from twisted.internet.defer import TimeoutError as TooSlow
    from twisted.internet.defer import maybeDeferred

    from brokerkit.checkers.source import Source
    from brokerkit.explain import ask, called, words

    report.source = called(source)
    if not isinstance(source, Source):
        report.warnings.append("it is another program's, and cannot be asked without a login")
        return
    try:
        names: Any = await maybeDeferred(source.names).addTimeout(PATIENCE, reactor)
        if names is None:
            known = await maybeDeferred(source.users, [NOBODY]).addTimeout(PATIENCE, reactor)
            report.anybody = NOBODY in known
        report.users = None if names is None else len(names)
    except TooSlow:
        report.problems.append(f"no answer within {PATIENCE} s")
    except Exception as error:
        report.problems.append(words(error))
    if name is None or report.problems:
        return
    answer = (await ask([source], name, reactor, PATIENCE))[0]
    if answer.known is not None:
        report.user = _record(answer.known, source.where(name, "", None), anybody=report.anybody)
    elif answer.down or answer.unusable:
        report.problems.append(answer.down or f"the user cannot log in: {answer.unusable}")


def _record(known: Known, where: str, *, anybody: bool) -> dict[str, Any]:
    """Give what is known of a user, without what proves its name."""
    from brokerkit.cli.proofs import ways
    from brokerkit.notation import shown

    user = known.user
    logins = ways(known)
    record: dict[str, Any] = {
        "name": shown(user.name),
        "where": where,
        "logins": {protocol: ["anything"] for protocol in logins} if anybody else logins,
        "may": {
            action: {
                kind: [_described(action, rule) for rule in rules]
                for kind, rules in (("allow", access.allow), ("deny", access.deny))
            }
            for action, access in user.grants.actions.items()
        },
    }
    more: dict[str, Any] = {"owner": user.owner, "tenant": user.tenant, "valid_until": _moment(user.valid_until)}
    more["protocols"] = list(user.protocols)
    if (answers := user.grants.responses) is not None:
        more["allow_responses"] = {"max": answers.most, "expires": answers.seconds}
    limits = {key: value for key, value in attrs.asdict(user.allowance).items() if value}
    return record | {key: value for key, value in more.items() if value} | ({"limits": limits} if limits else {})


def _written(action: str, rule: Rule) -> str:
    """Give a rule as its source has it: for the registry, the name of an entry."""
    from brokerkit.notation import shown

    if action in REGISTRY:
        from brokerkit.registry.access import written

        return written(rule) or shown(rule.name)
    return shown(rule.name)


def _described(action: str, rule: Rule) -> dict[str, Any]:
    from brokerkit.notation import shown

    queue = {"queue": shown(rule.queue)} if rule.queue else {}
    return {"name": _written(action, rule), "literal": rule.literal, **queue}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""


# -- for people ---------------------------------------------------------------------------------------------------


def _show(report: Report) -> None:
    click.echo(f"{'PROBLEM' if report.problems else 'OK'}  {report.source}{_count(report)}")
    pairs = [("problem", text) for text in report.problems] + [("warning", text) for text in report.warnings]
    if report.user is not None:
        pairs += _told(report.user)
    if pairs:
        click.echo(lines(pairs))


def _count(report: Report) -> str:
    if report.problems:
        return ""
    if report.users is not None:
        return f"  {report.users} user{'' if report.users == 1 else 's'}"
    return "  everybody" if report.anybody else "  answers; does not say how many users it has"


def _told(user: dict[str, Any]) -> list[tuple[str, str]]:
    """Give the record of a user as labelled lines."""
    pairs = [("user", f"{user['name']}, {user['where']}")]
    pairs += [(f"in {protocol}", ", ".join(by) or "cannot log in") for protocol, by in user["logins"].items()]
    for action, lists in user["may"].items():
        pairs.append((action, ", ".join(map(_rule, lists["allow"])) or "nothing"))
        if lists["deny"]:
            pairs.append((f"not {action}", ", ".join(map(_rule, lists["deny"]))))
    if "allow_responses" in user:
        pairs.append(("answers", responses(user["allow_responses"])))
    if "protocols" in user:
        pairs.append(("only by", ", ".join(user["protocols"])))
    for key in ("owner", "tenant"):
        if key in user:
            pairs.append((key, user[key]))
    if "valid_until" in user:
        until = user["valid_until"]
        pairs.append(("valid until", until + passed(datetime.fromisoformat(until).timestamp())))
    return pairs + [(key, str(value)) for key, value in user.get("limits", {}).items()]


def _rule(rule: dict[str, Any]) -> str:
    queue = f" (queue {rule['queue']})" if "queue" in rule else ""
    return f"{rule['name']} (literal)" if rule["literal"] else f"{rule['name']}{queue}"


def responses(said: Mapping[str, Any]) -> str:
    """Say how many answers are allowed to a request, and for how long."""
    most = f"{said['max']:g}" if said["max"] else "any number"
    within = f"within {said['expires']:g} s" if said["expires"] else "whenever"
    return f"{most} to each request, {within}"
