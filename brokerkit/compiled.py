"""Which of two twins is in use: the compiled one where it has been built, the pure one otherwise.

What the message path touches most has a twin in a compiled module: ``brokerkit._heart`` for the heart, a ``_scanner``
for each stream protocol.  The pure one defines the behaviour, is always there, and does whatever the compiled one does
not take.  ``BROKERKIT_PURE=1`` in the environment leaves the compiled ones out; so does a module that is missing, is
not whole, cannot be loaded, or was built for another version of the pure code or from other sources (``stamp``): that
is never an error, and is said once in the log, by whoever starts a broker.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from struct import Struct
from typing import Any, TypeVar

from brokerkit.stamp import stamp

SWITCH = "BROKERKIT_PURE"
EDITION = 3  # of what the pure and the compiled code expect of each other; it stands in each compiled module, too

T = TypeVar("T")

problems: list[str] = []  # why something that could be compiled is not in use, a sentence each

_ELF = b"\x7fELF\x02\x01"  # 64 bits, the lowest first
_SECTIONS = Struct("<40xQ10xHH2x")  # of its header: where its table of sections is, how large each is, how many


def load(name: str, fitting: str = "") -> Any:  # noqa: ANN401  a module
    """Give a compiled module by its name, ``None`` where the pure code is to do its work.

    It must be built from the sources that are there, or where none are, have the stamp ``fitting`` if that is given.
    """
    if switched_off():
        return None
    try:
        module = import_module(name) if _is_whole(name) else None
    except ModuleNotFoundError as error:
        problems.append(f"{name} has not been built" if error.name == name else f"{name} cannot be loaded: {error}")
        return None
    except Exception as error:
        problems.append(f"{name} cannot be loaded: {error}")
        return None
    problem = "is cut short" if module is None else _misfit(module, fitting)
    if problem:
        problems.append(f"{name} {problem}: build it anew")
        return None
    return module


def _misfit(module: Any, fitting: str) -> str:  # noqa: ANN401  a module
    """Say what is wrong with a module that has been loaded; nothing if it fits."""
    edition, built = getattr(module, "EDITION", 0), getattr(module, "STAMP", "")
    if edition != EDITION:
        return f"was built for edition {edition} of the pure code, not {EDITION}"
    if built != (_here() or fitting or built):
        return "was built from other sources than these"
    return ""


@cache
def _here() -> str:
    """Give the stamp of the sources that are there, if they are."""
    return stamp(Path(__file__).parent)


def _is_whole(name: str) -> bool:
    """Say whether a module's file has its end: the system kills a process that runs into a missing one."""
    spec = find_spec(name)
    if spec is None or not spec.origin:
        return True
    with Path(spec.origin).open("rb") as file:
        header = file.read(_SECTIONS.size)
        size = os.fstat(file.fileno()).st_size
    if len(header) < _SECTIONS.size or not header.startswith(_ELF):
        return True
    table, each, many = _SECTIONS.unpack(header)
    return bool(table + each * many <= size)


def switched_off() -> bool:
    """Say whether the environment asks for pure Python."""
    return os.environ.get(SWITCH, "") not in {"", "0"}


heart: Any = load("brokerkit._heart")


def load_scanner(name: str) -> Any:  # noqa: ANN401  a module
    """Give the compiled scanner of a wire; it fills what only the compiled heart has, and in its memory."""
    return load(name, heart.STAMP) if heart is not None else None


def twin(pure: T) -> T:
    """Give the compiled twin of a class or a function of the heart, or the pure one itself where there is none."""
    return pure if heart is None else getattr(heart, pure.__name__, pure)  # type: ignore[attr-defined]


def variant() -> str:
    """Say in one or two words what is in use."""
    return "pure Python" if heart is None else "compiled"
