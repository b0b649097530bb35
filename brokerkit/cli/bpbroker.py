"""``brokerkit bpbroker``: the original's command for the server, and its client's commands, since one manual has both.

Whatever it does to files, nothing is lost by it: ``configure`` adds, ``install-service`` leaves what is there, and what
is replaced is kept beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli import bpbroker_service as services
from brokerkit.cli.bpbroker_places import base_config, places, stopped
from brokerkit.cli.bpclient import COMMANDS
from brokerkit.cli.bpclient_errors import Fatal, FatalGroup
from brokerkit.cli.bpclient_options import Session, session_options
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.cli.bpbroker_places import Places
    from brokerkit.protocols.bpbroker.document import Document

MAX_INPUT = 64 * 1024 * 1024  # bytes of a configuration


@attrs.frozen
class Told(Session):
    """What the options say, those of the server too."""

    places: Places


@click.group("bpbroker", cls=FatalGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", metavar="FILE", help="Configuration over the global one.")
@session_options
@click.pass_context
def bpbroker(ctx: click.Context, session: Session, config: str | None) -> None:
    """Run the service registry, set it up, and talk to it as bpclient does.

    These options stand before the command.
    """
    found = places(config)
    if ctx.invoked_subcommand in SERVER and not base_config().exists() and not found.config.exists():
        text = f"No configuration file at {found.config}, running with default configuration"
        click.echo(text, err=True)
    ctx.obj = Told(**{field.name: getattr(session, field.name) for field in attrs.fields(Session)}, places=found)


# -- start ----------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the API and of discovery.")
@click.option("--ip", help="Address to listen at; all of them if not said.")
@click.option(
    "--ssl-cert", type=click.Path(exists=True, dir_okay=False), help="Certificate in PEM, in place of its own."
)
@click.option("--ssl-key", type=click.Path(exists=True, dir_okay=False), help="Key of --ssl-cert.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Directory for what lasts.")
@click.option("--nats", metavar="ENDPOINT", help="Listen for NATS there, too, for example tcp:port=4222.")
@click.option("--auth", multiple=True, metavar="SOURCE", help="Further users, such as users:FILE; may be given again.")
@click.option("--debug", is_flag=True, help="Log more.")
@click.pass_obj
def start(
    told: Told,
    port: int | None,
    ip: str | None,
    ssl_cert: str | None,
    ssl_key: str | None,
    data_dir: str | None,
    nats: str | None,
    auth: tuple[str, ...],
    *,
    debug: bool,
) -> None:
    """Run the service until it is interrupted."""
    from brokerkit.cli import bpbroker_start

    if (ssl_cert is None) != (ssl_key is None):
        raise click.UsageError("--ssl-cert and --ssl-key: give both, or none")
    said = {"listen_port": port, "listen_ip": ip, "ssl_cert": ssl_cert, "ssl_key": ssl_key}
    api = {key: value for key, value in said.items() if value is not None}
    data = Path(data_dir).absolute() if data_dir else told.places.data
    try:
        flags = bpbroker_start.prepare(told.places, data, api, nats, auth)
    except OperatorError as error:
        raise Fatal(str(error)) from None
    bpbroker_start.twistd(flags, debug=debug)


# -- the service ----------------------------------------------------------------------------------------------------


@click.command("install-service")
@click.option("--start", "starts", is_flag=True, help="Start it, too.")
@click.option("--root", type=click.Path(file_okay=False), default="/", hidden=True)
@click.pass_obj
def install_service(told: Told, root: str, *, starts: bool) -> None:
    """Have the service started at boot: by systemd, or by an init script where there is none.

    Nothing that is there is lost: a configuration stays as it is, and so does a service of somebody else's.
    """
    system = services.find(Path(root))
    try:
        _make_directories(told.places)
        system.install(told.places.config if told.places.named else None)
        if starts:
            system.start()
    except OSError as error:
        raise Fatal(f"{error.filename}: {error.strerror or error}") from None
    except OperatorError as error:
        raise Fatal(str(error)) from None
    if starts:
        click.echo("Service installed successfuly, configured to start at boot, and started")
    else:
        click.echo(services.INSTALLED)


def _make_directories(found: Places) -> None:
    """Make the directories, and a configuration if there is none."""
    from brokerkit.protocols.bpbroker import document as doc
    from brokerkit.protocols.bpbroker.durable import write

    for directory in (found.config.parent, found.library):
        directory.mkdir(parents=True, exist_ok=True)
    if not found.config.exists():
        write(found.config, [json.dumps(doc.DEFAULTS, indent=4).encode(), b"\n"])


@click.command("uninstall-service")
@click.option("--root", type=click.Path(file_okay=False), default="/", hidden=True)
def uninstall_service(root: str) -> None:
    """Stop the service and have it started no more; configuration and data stay."""
    try:
        services.find(Path(root)).uninstall()
    except OSError as error:
        raise Fatal(f"{error.filename}: {error.strerror or error}") from None
    except OperatorError as error:
        raise Fatal(str(error)) from None


@click.command("install-extension")
@click.option("--script", required=True, metavar="PATH", help="A Python file, or a directory of them.")
@click.pass_obj
def install_extension(told: Told, script: str) -> None:
    """Copy an extension into the library directory; it can be called when the configuration names it.

    A running service uses the new file from its next start on.
    """
    from brokerkit.cli.bpbroker_library import install

    for name in install(Path(script), told.places.library):
        hint = f"to enable it: echo '{json.dumps({name: {}})}' | brokerkit bpbroker configure"
        click.echo(f"bpbroker: {name} is installed in {told.places.library}; {hint}", err=True)


# -- configuration --------------------------------------------------------------------------------------------------


@click.command()
@click.option("--config-file", metavar="FILE", help="JSON to add; standard input if not said.")
@click.pass_obj
def configure(told: Told, config_file: str | None) -> None:
    """Add to the configuration: objects are merged member by member, and nothing is removed.

    Entries of the registry are left alone: `service register` and `service replace` are for those.  Not while the
    service runs.
    """
    from brokerkit.protocols.bpbroker import document as doc
    from brokerkit.protocols.bpbroker.durable import write

    file = told.places.config
    try:
        added, left_out = _without_entries(doc.parse(_input(config_file), config_file or "standard input"))
        with stopped(told.places.data):
            former = doc.read(file) if file.exists() else doc.merge(doc.DEFAULTS, {})
            merged = doc.merge(former, added)
            doc.of_api(merged, str(file))
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, [json.dumps(merged, indent=4).encode(), b"\n"])
    except OperatorError as error:
        raise Fatal(f"Unable to import configuration: {error}") from None
    except OSError as error:
        raise Fatal(f"Error saving configuration file {file}: {error.strerror or error}") from None
    if left_out:
        text = f"bpbroker: {left_out} entries of the registry are left out: write them with service replace"
        click.echo(text, err=True)


def _input(file: str | None) -> bytes:
    if file is None:
        return sys.stdin.buffer.read(MAX_INPUT)
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Fatal(f"Unable to import config file {file}: {error.strerror}") from None


def _without_entries(added: Document) -> tuple[Document, int]:
    """Give what is configuration of it, and how many entries are not."""
    section = added.get("services")
    if section is None:
        return added, 0
    kept = {name: value for name, value in section.items() if name.startswith("_")}
    return {**added, "services": kept}, len(section) - len(kept)


@click.command()
@click.argument("backup", required=False)
@click.option("--list", "lists", is_flag=True, help="Show the backups that there are, oldest first.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Data directory, if not the usual one.")
@click.pass_obj
def restore(told: Told, backup: str | None, data_dir: str | None, *, lists: bool) -> None:
    """Put back a backup of the registry: BACKUP, or the latest that can be used.

    BACKUP may also be a copy of bpbroker.json.  What is there is put aside, not lost.  Not while the service runs.
    """
    from brokerkit.protocols.bpbroker import view
    from brokerkit.stores import registry as store

    data = Path(data_dir).absolute() if data_dir else told.places.data
    file, config = data / "registry.sqlite", told.places.config
    if lists:
        for path in (*store.backups(file), *view.backups(config)):
            click.echo(str(path))
        return
    try:
        with stopped(data):
            chosen = Path(backup) if backup is not None else _last_resort(file, config)
            from_view = _is_json(chosen) if chosen is not None else not store.backups(file)
            put_back: Any = view.restore if from_view else store.restore
            found = put_back(config if from_view else file, chosen)
            if from_view and not store.is_sound(file):  # else its entries take the place of those that are there
                store.begin_empty(file)
    except OperatorError as error:
        raise Fatal(str(error)) from None
    click.echo(f"{found} is restored")


def _last_resort(file: Path, config: Path) -> Path | None:
    """Give the configuration itself where nothing else is left: it has the registry as it was when it was written."""
    from brokerkit.protocols.bpbroker import view
    from brokerkit.stores import registry as store

    if store.backups(file) or view.backups(config):
        return None
    where = f"there is no backup in {file.parent / 'backups'} or beside {config}"
    if store.is_sound(file):
        raise OperatorError(f"{where}, and the registry is sound: nothing was changed")
    if not config.exists():
        raise OperatorError(f"{where}, and no such file: --config FILE names the bpbroker.json of this registry")
    return config


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            return opened.read(64).lstrip().startswith(b"{")
    except OSError as error:
        raise Fatal(f"{path}: {error.strerror}") from None


_OWN = (start, install_service, uninstall_service, install_extension, configure, restore)
SERVER = {str(one.name) for one in _OWN}
for _one in (*_OWN, *COMMANDS):
    bpbroker.add_command(_one)
