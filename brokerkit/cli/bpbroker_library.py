"""``bpbroker install-extension``: a file, or what is in a directory, goes into the library directory.

Each is read as Python first, so that one for Python 2 is told here and not at its first call.  A file that is replaced
stays beside the new one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from brokerkit.cli.bpclient_errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMER = ".former"  # what is added to the name of a file that was replaced
LEFT_OUT = {"__pycache__", ".git"}


def install(script: Path, library: Path) -> list[str]:
    """Copy an extension, and give the names of its modules; raise ``Fatal``."""
    files = list(_files(script))
    for source, _ in files:
        _check(source)
    try:
        library.mkdir(parents=True, exist_ok=True)
        for source, name in files:
            _copy(source, library / name)
    except OSError as error:
        raise Fatal(f"Error installing extension {script}: {error.filename}: {error.strerror}") from None
    return [name.removesuffix(".py").replace("/", ".") for _, name in files if name.endswith(".py")]


def _files(script: Path) -> Iterator[tuple[Path, str]]:
    """Give each file with the name that it gets."""
    if not script.exists():
        raise Fatal(f"Error installing extension {script}: there is no such file")
    if not script.is_dir():
        if script.suffix != ".py" or not script.stem.isidentifier():
            raise Fatal(f"Error installing extension {script}: expected a name such as my_extension.py")
        yield script, script.name
        return
    for path in sorted(script.rglob("*")):
        name = path.relative_to(script)
        if path.is_file() and not LEFT_OUT.intersection(name.parts):
            yield path, name.as_posix()


def _check(source: Path) -> None:
    if source.suffix != ".py":
        return
    try:
        compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Fatal(f"Error installing extension {source}: line {error.lineno}: {error.msg}") from None
    except (OSError, ValueError) as error:
        raise Fatal(f"Error installing extension {source}: {getattr(error, 'strerror', None) or error}") from None


def _copy(source: Path, target: Path) -> None:
    """Copy a file whole or not at all, for everybody to read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        content = source.read_bytes()
        if target.exists() and target.read_bytes() == content:
            return
        draft.write_bytes(content)
        draft.chmod(0o644)
        if target.exists():
            former = target.with_name(target.name + FORMER)
            with suppress(FileNotFoundError):
                former.unlink()
            os.link(target, former)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
