"""``brokerkit user``: brokerkit's own users, added, shown and changed in the store, whether a broker runs or not.

A running broker sees a change by itself within a second; it is told nevertheless, so that the change counts at once.
Secrets are shown by ``show --secret`` and where they have just been made, and nowhere else.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli import secret as secrets
from brokerkit.cli.one_line import WRONG, one_line, print_json, say
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.place import USERS, default_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.checkers.entry import Entry
    from brokerkit.stores.users import UserStore

ACTIONS = click.Choice(["publish", "subscribe", "registry.read", "registry.write"])


@attrs.frozen
class Where:
    """Which store is meant, and which broker; and how the answer is printed."""

    data_dir: Path | None
    users: Path | None
    as_json: bool

    @property
    def directory(self) -> Path:
        """The data directory of the broker that may be running."""
        if self.data_dir is None and self.users is not None:
            return self.users.parent
        return self.data_dir or default_directory()

    @property
    def path(self) -> Path:
        """The store."""
        return self.users or self.directory / USERS

    def open(self, *, make: bool = False) -> UserStore:
        """Open the store; with ``make``, make it and its directory where there is none."""
        from brokerkit.stores.users import UserStore

        if make:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                text = f"{self.path.parent}: the directory cannot be made: {error.strerror}"
                raise OperatorError(text) from None
        return UserStore.open(self.path, make=make)

    def tell(self) -> None:
        """Have a running broker look at its users now, and say so if they are none of its; without one, do nothing."""
        from brokerkit.control import tell

        try:
            sources = tell(self.directory, {"do": "look"}).get("sources")
        except OperatorError:  # none runs, or it has no time: then it looks by itself, within a second
            return
        if sources is not None and f"users:{self.path.absolute()}" not in sources:
            remedy = "" if self.users else ": start it with --auth users"
            click.echo(f"the broker on {self.directory} has no users from {self.path}{remedy}", err=True)

    def say(self, text: str, said: dict[str, Any]) -> None:
        """Say what was done: to a person on stderr, or as JSON on stdout."""
        say(text, said, as_json=self.as_json)


def _place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which store is meant, handed over as one ``where``."""
    from functools import wraps

    @wraps(command)
    def with_where(*, data_dir: Path | None, users: Path | None, as_json: bool, **others: Any) -> None:  # noqa: ANN401
        with one_line():
            command(where=Where(data_dir, users, as_json), **others)

    path = click.Path(path_type=Path)
    given: Callable[..., None] = with_where
    for option in (
        click.option("--data-dir", type=path, help="Data directory of the broker."),
        click.option("--users", type=path, metavar="PATH", help="The store, if it is not in the data directory."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    ):
        given = option(given)
    return given


@click.group()
def user() -> None:
    """Add, show and change brokerkit's own users."""


# -- one user, from options ---------------------------------------------------------------------------------------


def _entry(fields: dict[str, Any]) -> Entry:
    """Check what was given on the command line."""
    from brokerkit.checkers.entry import read

    try:
        return read({key: value for key, value in fields.items() if value is not None and value != ""}, "command line")
    except ConfigError as error:
        click.echo(f"brokerkit: {error}", err=True)
        raise SystemExit(WRONG) from None


def _hashed(password: str) -> str:
    from brokerkit.hashing import make_hash

    return make_hash(password.encode())


def _proof(secret: str, kind: str) -> dict[str, str]:
    """Give the fields that keep a secret: as it is, hashed, or as a hash that somebody has made already."""
    if kind == "secret":
        return {"secret": secret, "password_hash": ""}
    return {"secret": "", "password_hash": _hashed(secret) if kind == "hash" else secret}


def _kind(*, hashed: bool, is_hash: bool) -> str:
    if hashed and is_hash:
        raise click.UsageError("--hash and --is-hash: give one of them")
    return "hash" if hashed else "is-hash" if is_hash else "secret"


def _hash_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--hash", "hashed", is_flag=True, help="Keep only an argon2id hash; no login by hpfeeds then."),
        click.option("--is-hash", is_flag=True, help="What is given is an argon2 or bcrypt hash already."),
    ):
        command = option(command)
    return command


PATTERN_OPTIONS = (
    *("publish", "subscribe", "publish_deny", "subscribe_deny"),
    *("registry_read", "registry_write", "topic_admin", "group_admin"),
)


def _responses(text: str | None) -> dict[str, float] | None:
    """Read how many answers are allowed, and for how many seconds."""
    if text is None:
        return None
    most, _, seconds = text.partition(",")
    try:
        return {"max": int(most), "expires": float(seconds or 120)}
    except ValueError:
        raise click.UsageError(f"--allow-responses {text}: expected a number and seconds, such as 1,120") from None


def _record_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags for all that can be said of a user but its secret."""
    pattern: dict[str, Any] = {"multiple": True, "metavar": "PATTERN"}
    name: dict[str, Any] = {"multiple": True, "metavar": "ENTRY"}
    whole = click.IntRange(min=0)
    for option in (
        click.option("--publish", **pattern, help="May publish to this; may be given again."),
        click.option("--subscribe", **pattern, help="May subscribe to this; may be given again."),
        click.option("--deny-publish", "publish_deny", **pattern, help="May not publish to this, whatever else."),
        click.option("--deny-subscribe", "subscribe_deny", **pattern, help="May not subscribe to this."),
        click.option(
            "--allow-responses",
            is_flag=False,
            flag_value="1,120",
            metavar="[MAX,SECONDS]",
            help="May answer requests that it receives by NATS; 1,120 unless said, 0 for no bound.",
        ),
        click.option("--protocol", "protocols", multiple=True, help="May come by this only; may be given again."),
        click.option("--registry-read", **name, help="May read this entry; web-* for many, * for all."),
        click.option("--registry-write", **name, help="May write this entry; may be given again."),
        click.option("--topic-admin", **pattern, help="May create, alter and delete kept topics of this name."),
        click.option("--group-admin", **pattern, help="May use and move consumer groups of this name, whoever's."),
        click.option("--nkey", metavar="U...", help="The public nkey of a NATS client."),
        click.option("--certificate", metavar="NAME", help="The name in a client certificate."),
        click.option("--owner", help="For people to read."),
        click.option("--tenant", help="The separate space of topics that the user lives in."),
        click.option("--connections", type=whole, help="Connections at a time; 0 for any number."),
        click.option("--subscriptions", type=whole, help="Subscriptions of one connection; 0 for any number."),
        click.option("--payload", type=whole, help="Bytes of one message; 0 for any number."),
        click.option("--rate", type=click.FloatRange(min=0), help="Messages in a second; 0 for any number."),
        click.option("--valid-until", metavar="MOMENT", help="With its zone, such as 2027-01-31T12:00:00Z."),
    ):
        command = option(command)
    return command


@user.command()
@click.argument("name")
@secrets.options
@_hash_options
@click.option("--token", is_flag=True, help="Make a random token for NATS clients, and print it this once.")
@_record_options
@_place_options
def add(
    *,
    where: Where,
    name: str,
    stdin: bool,
    generate: bool,
    hashed: bool,
    is_hash: bool,
    token: bool,
    **said: Any,  # noqa: ANN401  the record's options
) -> None:
    """Add the user NAME.

    A secret is asked for, unless the user logs in by --nkey, --certificate or --token alone.
    """
    kind = _kind(hashed=hashed, is_hash=is_hash)
    made: dict[str, str] = {}
    lists = {key: list(said[key]) for key in (*PATTERN_OPTIONS, "protocols")}
    fields = {**said, **lists, "allow_responses": _responses(said["allow_responses"]), "name": name}
    if token:
        fields["token"] = made["token"] = secrets.generated()
    if stdin or generate or hashed or is_hash or not (token or said["nkey"] or said["certificate"]):
        given = secrets.get(f"Secret of {name}", stdin=stdin, generate=generate)
        fields |= _proof(given, kind)
        if generate:
            made["secret"] = given
    entry = _entry(fields)
    with where.open(make=True) as store:
        store.add(entry)
    where.tell()
    where.say(f"{name}: added", {**entry.fields(secrets=False), **made})
    _show_made(where, made)
    may = entry.publish or entry.subscribe or entry.registry_read or entry.registry_write
    if not may and not where.as_json:
        click.echo(f"it may do nothing yet: brokerkit user allow {shlex.quote(name)} publish PATTERN", err=True)


def _show_made(where: Where, made: dict[str, str]) -> None:
    """Print what was made up: alone, so that a script can take it; with names, where there are several."""
    if where.as_json:
        return
    for key, value in made.items():
        click.echo(value if len(made) == 1 else f"{key}: {value}")


@user.command()
@click.argument("name")
@secrets.options
@_hash_options
@click.option("--recoverable", is_flag=True, help="Keep the secret itself, where only a hash was kept.")
@click.option("--token", is_flag=True, help="Change the token, not the secret.")
@_place_options
def passwd(
    *,
    where: Where,
    name: str,
    stdin: bool,
    generate: bool,
    hashed: bool,
    is_hash: bool,
    recoverable: bool,
    token: bool,
) -> None:
    """Change the secret of the user NAME; of a user with a hash, the hash.

    Connections that have logged in with the former one are closed.
    """
    kind = _kind(hashed=hashed, is_hash=is_hash)
    if (token, recoverable, hashed, is_hash).count(True) > 1:
        raise click.UsageError("--token, --recoverable, --hash and --is-hash: give one of them")
    with where.open() as store:
        before = store.get(name)  # who is not there needs no secret
        given = secrets.get(f"New {'token' if token else 'secret'} of {name}", stdin=stdin, generate=generate)
        if before.password_hash and kind == "secret" and not recoverable:
            kind = "hash"
        proof = {"token": given} if token else _proof(given, kind)
        entry = store.change(name, lambda entry: _entry({**entry.fields(), **proof}))
    where.tell()
    where.say(f"{name}: changed", {**entry.fields(secrets=False), **(_made(given, token=token) if generate else {})})
    _show_made(where, _made(given, token=token) if generate else {})


def _made(given: str, *, token: bool) -> dict[str, str]:
    return {"token" if token else "secret": given}


# -- looking ------------------------------------------------------------------------------------------------------


@user.command("list")
@_place_options
def list_(*, where: Where) -> None:
    """List the users."""
    from brokerkit.cli.user_table import show_all

    with where.open() as store:
        entries = store.all()
    if where.as_json:
        for entry in entries:
            print_json(_described(entry))
    else:
        show_all(entries)


@user.command()
@click.argument("name")
@click.option("--secret", "reveal", is_flag=True, help="Show the secret and the token too.")
@_place_options
def show(*, where: Where, name: str, reveal: bool) -> None:
    """Show the user NAME, and in which protocols it can log in."""
    from brokerkit.cli.user_table import show_one

    with where.open() as store:
        entry = store.get(name)
    if where.as_json:
        print_json(_described(entry, reveal=reveal))
    else:
        show_one(entry, reveal=reveal)


def _described(entry: Entry, *, reveal: bool = False) -> dict[str, Any]:
    from brokerkit.cli.proofs import ways

    return {**entry.fields(secrets=reveal), "logs_in_by": ways(entry.known(""))}


# -- changing -----------------------------------------------------------------------------------------------------


@user.command()
@click.argument("name")
@_place_options
def remove(*, where: Where, name: str) -> None:
    """Take the user NAME away; its connections are closed."""
    with where.open() as store:
        store.remove(name)
    where.tell()
    where.say(f"{name}: removed", {"name": name, "removed": True})


def _rule_arguments(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.argument("patterns", nargs=-1, required=True, metavar="PATTERN..."),
        click.argument("action", type=ACTIONS),
        click.argument("name"),
        click.option("--undo", is_flag=True, help="Take the rule away again."),
    ):
        command = option(command)
    return command


@user.command()
@_rule_arguments
@_place_options
def allow(*, where: Where, name: str, action: str, patterns: tuple[str, ...], undo: bool) -> None:
    """Allow the user NAME to publish, or to subscribe, to each PATTERN.

    For registry.read and registry.write each PATTERN is the name of an entry, web-* for all that begin so, * for all.
    """
    entry = _change_rules(where, name, _key(action), patterns, undo=undo)
    for pattern in () if undo else patterns:
        for denial in getattr(entry, f"{_key(action)}_deny"):
            if _covers(action, denial, pattern):
                command = shlex.join(["brokerkit", "user", "deny", name, action, denial, "--undo"])
                click.echo(f"{pattern} is denied nevertheless, by {denial}; to end that: {command}", err=True)


def _key(action: str) -> str:
    return action.replace(".", "_")


def _covers(action: str, denial: str, pattern: str) -> bool:
    """Say whether all that a rule allows is denied."""
    from brokerkit import topics

    if "." not in action:
        return denial == ">" or topics.covers(denial.encode(), pattern.encode())
    return denial == pattern or (denial.endswith("*") and pattern.startswith(denial[:-1]))


@user.command()
@_rule_arguments
@_place_options
def deny(*, where: Where, name: str, action: str, patterns: tuple[str, ...], undo: bool) -> None:
    """Deny the user NAME to publish, or to subscribe, to each PATTERN, whatever else is allowed."""
    _change_rules(where, name, f"{_key(action)}_deny", patterns, undo=undo)


def _change_rules(where: Where, name: str, key: str, patterns: tuple[str, ...], *, undo: bool) -> Entry:
    """Add rules to one of a user's lists, or take them away."""

    def changed(entry: Entry) -> Entry:
        listed: tuple[str, ...] = getattr(entry, key)
        for pattern in patterns if undo else ():
            if pattern not in listed:
                rules = ", ".join(listed) or "none"
                raise OperatorError(f"{name}: {key} has no rule {pattern!r}; it has: {rules}")
        kept = [one for one in listed if not undo or one not in patterns]
        added = [] if undo else [one for one in dict.fromkeys(patterns) if one not in listed]
        return _entry({**entry.fields(), key: kept + added})

    with where.open() as store:
        entry = store.change(name, changed)
    where.tell()
    where.say(f"{name}: {key}: {', '.join(getattr(entry, key)) or 'nothing'}", entry.fields(secrets=False))
    return entry


@user.command()
@click.argument("name")
@_place_options
def kick(*, where: Where, name: str) -> None:
    """Close all connections of the user NAME now; it may come back."""
    from brokerkit.control import tell

    kicked = int(tell(where.directory, {"do": "kick", "name": name}).get("kicked", 0))
    where.say(f"{name}: {kicked} connection{'' if kicked == 1 else 's'} closed", {"name": name, "kicked": kicked})
