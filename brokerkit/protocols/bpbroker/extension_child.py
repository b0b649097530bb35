"""The program that runs extensions: it waits for a call, does it, answers, and waits for the next.

It is a process of its own, so that one that hangs, crashes or takes all memory costs the broker nothing.  It is in a
session of its own: what an extension has started is killed with it.  When the broker goes, its pipe ends, and so does
this; ``faulthandler`` sees to it that it does so in the middle of a call, too.

An extension is a module in the library directory; what can be called in it are the functions and classes that it
defines, by names without a leading underscore, and only those in ``__all__`` if it has one.
"""

from __future__ import annotations

import base64
import faulthandler
import importlib
import os
import sys
import traceback
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.bpbroker import extension_frames as frames
from brokerkit.protocols.bpbroker.extension_shim import Asking, install

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, ANSWERS = 3, 4  # file descriptors
GRACE = 5.0  # seconds beyond its time after which a call ends this process, if nobody else has ended it
TRACEBACK = 16_384  # characters of one that are sent
HIGHEST_STATUS = 599


class RequestHandler:
    """What an extension gets as ``rh``: the request, and the answer to be.

    ``wfile`` leads nowhere; the answer is ``data``.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        """Take what came with the call."""
        self.qs: dict[str, str] = dict(told["qs"])
        self.package: str = told["package"]
        self.method: str = told["method"]
        self.path: str = told["path"]
        self.command: str = told["command"]
        self.client_address = (told["address"], 0)
        self.headers = Message()
        for name, value in told["headers"].items():
            self.headers[name] = value
        self.rfile = BytesIO()
        self.wfile = BytesIO()
        self.status: Any = 200
        self.status_message: Any = ""
        self.content_type: Any = "Application/json"
        self.data: Any = ""

    def RequestingHost(self) -> str:
        """Give the caller's address."""
        return str(self.client_address[0])


class NoSuchMethod(Exception):
    """It is not there, or not to be called."""


def main() -> None:
    """Do calls until the pipe ends; the arguments are the library directory, and how many bytes an answer may have."""
    library, most = sys.argv[1], int(sys.argv[2])
    os.setsid()
    for number in (CALLS, ANSWERS):
        os.set_inheritable(number, False)
    sys.path.append(library)
    with os.fdopen(CALLS, "rb") as calls, os.fdopen(ANSWERS, "wb") as answers:
        asking = Asking(calls, answers)
        config = install(asking)
        while (told := frames.read(calls)) is not None:
            faulthandler.dump_traceback_later(told["timeout"] + GRACE, exit=True)
            config.begin()
            answer = _answer(told, Path(library), most, config.end)
            faulthandler.cancel_dump_traceback_later()
            asking.say(answer)


def _answer(told: dict[str, Any], library: Path, most: int, end: Callable[[], None]) -> dict[str, Any]:
    """Do one call, whatever it does."""
    try:
        method = find(told["package"], told["method"], library)
        rh = RequestHandler(told)
        method(rh)
        end()
        return {"done": outcome(rh, most)}
    except NoSuchMethod as error:
        return {"unknown": str(error)[:TRACEBACK]}
    except BaseException:  # also SystemExit: an extension does not end the process by it
        return {"failed": traceback.format_exc()[-TRACEBACK:]}
    finally:
        sys.stdout.flush()


def find(package: str, name: str, library: Path) -> Callable[[RequestHandler], object]:
    """Give what can be called by that name; raise ``NoSuchMethod``, which says why not, for the log."""
    if name.startswith("_") or any(part.startswith("_") or not part for part in package.split(".")):
        raise NoSuchMethod(f"{package}.{name}: names that begin with _ are not to be called")
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if f"{package}.".startswith(f"{error.name}."):
            raise NoSuchMethod(f"{package}: there is no such module in {library}") from None
        raise NoSuchMethod(f"{package} cannot be imported: {error}") from None
    except BaseException:
        raise NoSuchMethod(f"{package} cannot be imported:\n{traceback.format_exc()}") from None
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).resolve().is_relative_to(library.resolve()):
        raise NoSuchMethod(f"{package}: is {file or 'built in'}, expected a module in {library}")
    found = getattr(module, name, None)
    if not callable(found) or getattr(found, "__module__", None) != module.__name__:
        raise NoSuchMethod(f"{package}.{name}: is nothing that can be called and is defined there")
    if name not in getattr(module, "__all__", (name,)):
        raise NoSuchMethod(f"{package}.{name}: is not in __all__")
    return found  # type: ignore[no-any-return]


def outcome(rh: RequestHandler, most: int) -> dict[str, Any]:
    """Give what the method has set; raise ``ValueError`` for what cannot be answered with."""
    data = rh.data.encode() if isinstance(rh.data, str) else rh.data
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"rh.data: is of type {type(data).__name__}, expected str or bytes")
    if len(data) > most:
        raise ValueError(f"rh.data: is {len(data)} bytes long, expected at most {most}")
    status = int(rh.status)
    if not 200 <= status <= HIGHEST_STATUS:  # noqa: PLR2004  what is below is not a whole answer
        raise ValueError(f"rh.status: is {status}, expected 200 to {HIGHEST_STATUS}")
    return {
        "status": status,
        "status_message": _line(rh.status_message, 1000),
        "content_type": _line(rh.content_type, 200),
        "data": base64.b64encode(data).decode(),
    }


def _line(text: object, most: int) -> str:
    """Give a text as it may stand in the head of an answer: no control characters."""
    return "".join(letter for letter in str(text)[:most] if letter.isprintable())


if __name__ == "__main__":
    main()
