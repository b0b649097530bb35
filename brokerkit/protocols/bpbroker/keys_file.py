"""The access keys of a ``bpbroker.json`` while the broker runs: the file is looked at once a second, and at SIGHUP.

The broker itself writes that file, too, and then nothing is read again: whoever writes says what is in it now
(``wrote``).  Only what the files say of access is held here, and what says the same as before changes nothing.

A file that is gone is an error, after which the keys stay as they were: else who removes it would open everything.  One
that was not there at the start may come.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from brokerkit.checkers.watched import Watched, read, signature
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.keys import AccessKeys, Said

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.checkers.watched import Signature

NOT_THERE: Signature = ()
WRITTEN = 4  # of a signature: the time of change behind them is another one when a file has got its name


class KeysFile(AccessKeys, Watched):
    """Knows the keys of the last of some files, which stands over those before it."""

    def __init__(self, paths: Sequence[str], clock: IReactorTime, *, opens: bool, tenant: str = "") -> None:
        """Read the files, as ``AccessKeys`` says; raise ``OperatorError``."""
        self._absent = {os.path.abspath(path) for path in paths if not os.path.exists(path)}  # noqa: PTH100, PTH110
        self._layers: list[doc.Document] = []
        self._own: Signature = NOT_THERE
        AccessKeys.__init__(self, paths[-1], {}, opens=opens, tenant=tenant)
        Watched.__init__(self, paths, clock)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _signatures(self) -> tuple[Signature, ...]:
        return tuple(self._signature(path) for path in self.paths)

    def _signature(self, path: str) -> Signature:
        try:
            return signature(os.stat(path))  # noqa: PTH116  as Watched has it
        except FileNotFoundError:
            if path in self._absent:
                return NOT_THERE
            raise

    def _read(self) -> tuple[tuple[Signature, ...], list[bytes]]:
        found = [self._read_one(path) for path in self.paths]
        return tuple(one for one, _ in found), [content for _, content in found]

    def _read_one(self, path: str) -> tuple[Signature, bytes]:
        if path in self._absent and not os.path.exists(path):  # noqa: PTH110
            return NOT_THERE, b"{}"
        found = read(path, doc.MAX_SIZE)
        self._absent.discard(path)
        return found

    def parse(self, contents: list[bytes]) -> Generator[None, None, list[doc.Document]]:
        """Give what each file says, without the entries."""
        found = []
        for path, content in zip(self.paths, contents, strict=True):
            found.append(doc.without_entries(doc.parse(content, path)))
            yield
        self._all(found)  # raises what is wrong with it, before it is taken
        return found

    def _all(self, layers: list[doc.Document]) -> Said:
        whole: doc.Document = dict(doc.DEFAULTS)
        for one in layers:
            whole = doc.merge(whole, one)
        return Said.of(whole, self.paths[-1])

    # -- taking -------------------------------------------------------------------------------------------------------

    def take(self, users: list[doc.Document]) -> None:
        """Put what the files say in the place of what was known."""
        self._layers = users
        self.know(self._all(users))

    def _taken(self, users: Any) -> None:  # noqa: ANN401  what parse gives
        if self._all(users) == self._said:  # an entry or a setting is another, and no key
            self._work, self._layers, self.broken = None, users, False
        else:
            super()._taken(users)

    def wrote(self, written: os.stat_result, document: doc.Document) -> None:
        """Hear that the broker has written the last of the files, and what it says there."""
        self._own = signature(written)[:WRITTEN]
        if self._work is not None:
            self._work.cancel()
        self._taken([*self._layers[:-1], doc.without_entries(document)])

    def look(self) -> None:
        """Take what the files say if they are not what was seen last, unless the broker has written it."""
        if self._own and self._seen is not None:
            with suppress(OSError):
                found = self._signature(self.paths[-1])
                if found[:WRITTEN] == self._own:
                    self._seen, self._own = (*self._seen[:-1], found), NOT_THERE
        super().look()
