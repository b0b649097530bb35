"""``bpbroker start``: the broker, told what the original's configuration says.

It becomes twistd with a configuration of its own kind, which is written into the data directory for people to look at,
and made anew at each start.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.cli.bpbroker_places import base_config
from brokerkit.errors import OperatorError
from brokerkit.place import write_private
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from brokerkit.cli.bpbroker_places import Places

MADE = "started.toml"


def prepare(
    places: Places, data: Path, api: Mapping[str, Any], nats: str | None = None, auth: Sequence[str] = ()
) -> list[str]:
    """Write the configuration, and give the flags for twistd; raise ``OperatorError`` for what cannot work.

    ``api`` is what the command line says in place of that section; ``auth`` are further sources of users, beside which
    a section without a key is not open to everybody.
    """
    document = doc.layers(places.layers, {"api": dict(api)})
    endpoint, settings = doc.of_api(document, str(places.config))
    library = settings.library if document["api"].get("library") else str(places.library)
    below = str(base_config()) if places.named and base_config().exists() else ""
    settings = attrs.evolve(settings, config=str(places.config), below=below, library=library)
    text = "".join(_lines(endpoint, settings, auth, nats))
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.config.parent.mkdir(parents=True, exist_ok=True)  # the file is written there at the end
        write_private(data / MADE, text)
    except OSError as error:
        hint = "give another with --data-dir, or a configuration of your own with --config FILE"
        raise OperatorError(f"{error.filename or data}: cannot be used: {error.strerror}; {hint}") from None
    flags = ["--config", str(data / MADE), "--data-dir", str(data)]
    _try(flags)
    return flags


def _lines(endpoint: str, settings: Settings, sources: Sequence[str], nats: str | None) -> Iterator[str]:
    yield "# Made by `bpbroker start` from the configuration of bpbroker, at each start.\n"
    yield f'name = "bpbroker"\nauth = {_toml(list(sources))}\n'  # with none, the access keys say who may what
    yield f'\n[[listen]]\nprotocol = "bpbroker"\nendpoint = {_toml(endpoint)}\n'
    usual = Settings()
    for field in attrs.fields(Settings):
        value = getattr(settings, field.name)
        if value != getattr(usual, field.name) and value is not None:
            yield f"{field.name} = {_toml(value)}\n"
    if nats is not None:
        yield f'\n[[listen]]\nprotocol = "nats"\nendpoint = {_toml(nats)}\n'


def _toml(value: object) -> str:
    """Give a value as TOML has it: in these cases as JSON has it, but for letters beyond the first plane."""
    found = list(value) if isinstance(value, tuple) else value
    return json.dumps(found, ensure_ascii=False).replace("\x7f", "\\u007F")


def _try(flags: Sequence[str]) -> None:
    """Put everything together, open nothing, and throw it away; raise ``OperatorError`` if it cannot work."""
    from twisted.internet import reactor

    from brokerkit.app import Options, make_broker

    options = Options()
    options.parseOptions(list(flags))  # type: ignore[no-untyped-call]
    make_broker(options.configuration(), reactor)


def twistd(flags: Sequence[str], *, debug: bool) -> None:
    """Become twistd; a signal that ends it is a good end, with exit code 0, as it was."""
    from twisted.application.app import run
    from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

    logger = "everything" if debug else "information"
    sys.argv = ["twistd", "-n", "--pidfile=", f"--logger=brokerkit.cli.logs.{logger}", "brokerkit", *flags]
    run(lambda config: UnixApplicationRunner(config).run(), ServerOptions)
