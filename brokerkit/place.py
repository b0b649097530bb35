"""Where a broker of this user keeps its things, and how ``pub`` and ``sub`` find the one that is running.

The data directory holds ``users.sqlite``, brokerkit's own users, and, while a broker runs, ``running.json``: which
protocol listens where.  Both are for the owner's eyes alone.  A ``users.json`` is what an earlier brokerkit kept its
demo user in; its users are still known, after those of the store.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.checkers.entry import Entry

DEMO = "demo"
USERS = "users.sqlite"
LOG = "log.sqlite"
FORMER = "users.json"


def default_directory() -> Path:
    """Give ``$BROKERKIT_DATA_DIR``, systemd's ``$STATE_DIRECTORY``, or the usual place below the home directory."""
    for variable in ("BROKERKIT_DATA_DIR", "STATE_DIRECTORY"):
        if given := os.environ.get(variable):
            return Path(given)
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "brokerkit"


def write_private(path: Path, content: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # and O_EXCL: no link is followed, and no file of somebody else's is written to
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def prepare(directory: Path) -> tuple[str, ...]:
    """Make the directory and, at the first start, the store with the demo user; give the sources of users there.

    A former file of users stays what it is: it may hold channels that the store cannot, and somebody may edit it.
    """
    from brokerkit.stores.users import UserStore

    former = directory / FORMER
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        text = f"{directory}: the data directory cannot be used: {error.strerror}; give another with --data-dir"
        raise OperatorError(text) from None
    with UserStore.open(directory / USERS, make=True, first=[] if former.exists() else [_demo()]):
        pass
    return sources(directory)


def sources(directory: Path) -> tuple[str, ...]:
    """Give the sources of users that ``brokerkit run`` has there: the store, and a former file if there is one."""
    former = directory / FORMER
    return ("users", f"json:{former}") if former.exists() else ("users",)


def _demo() -> Entry:
    from brokerkit.checkers.entry import Entry

    return Entry(DEMO, secret=secrets.token_urlsafe(18), publish=(">",), subscribe=(">",))


def demo_is_stored(directory: Path) -> bool:
    """Say whether the demo user is in the store, where ``brokerkit user`` finds it."""
    return bool(_stored_secret(directory))


def _stored_secret(directory: Path) -> str:
    from brokerkit.stores.users import UserStore

    with suppress(OperatorError), UserStore.open(directory / USERS) as store:
        return store.get(DEMO).secret
    return ""


def demo_secret(directory: Path) -> str:
    """Give the secret of the demo user, from the store or a former file; empty if there is none."""
    if stored := _stored_secret(directory):
        return stored
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((directory / FORMER).read_text())[DEMO]["secret"])
    return ""


def say_running(directory: Path, addresses: dict[str, str]) -> None:
    """Write down what listens where (protocol → host:port)."""
    write_private(directory / "running.json", json.dumps({"pid": os.getpid(), "listening": addresses}) + "\n")


def say_stopped(directory: Path) -> None:
    """Remove what ``say_running`` wrote."""
    with suppress(OSError):
        (directory / "running.json").unlink()


def running(directory: Path) -> dict[str, str]:
    """Give what listens where, as far as a running broker has written it down."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data: dict[str, Any] = json.loads((directory / "running.json").read_text())
        return {str(name): str(address) for name, address in data["listening"].items()}
    return {}
