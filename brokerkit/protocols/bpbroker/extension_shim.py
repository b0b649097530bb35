"""The module ``bpbroker`` that extensions import: the configuration and the registry, by way of the broker.

``config.data`` is a mapping as in the original: a section of the configuration by its name, and at ``services`` the
registry.  What it gives are plain dicts.  To assign or to delete writes at once; what has been changed within such a
dict is written by ``Save()``, when ``rlock`` is given back, and when the call ends, all in one transaction, or not at
all if somebody else has changed one of them in the meantime.  A call always begins with what is there now.

Not in it: access keys, and whatever else begins with ``_``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from threading import Lock, RLock
from types import ModuleType
from typing import IO, Any

from brokerkit.protocols.bpbroker import extension_frames as frames

SERVICES = "services"
WRITTEN = ("last_write_ip", "last_write_ts")  # what the broker adds to a record


class Refused(RuntimeError):
    """The broker has not done what the extension asked for."""


class Asking:
    """Asks the broker, one question at a time."""

    def __init__(self, answers: IO[bytes], questions: IO[bytes]) -> None:
        """Ask through these pipes."""
        self._answers = answers
        self._questions = questions
        self._mutex = Lock()

    def say(self, what: dict[str, Any]) -> None:
        """Send something that is not answered."""
        self._questions.write(frames.frame(what))
        self._questions.flush()

    def ask(self, what: str, **more: Any) -> Any:  # noqa: ANN401  any JSON
        """Give the answer; raise ``Refused``."""
        with self._mutex:
            self.say({"ask": what, **more})
            answer = frames.read(self._answers)
        if answer is None:
            raise SystemExit(1)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["answer"]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


class Kept:
    """The dicts that were handed out in this call, with what they were at that time."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: dict[str, tuple[dict[str, Any], str, int | None]] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        """Give the one of that name."""
        return self._seen[name][0] if name in self._seen else None

    def keep(self, name: str, value: dict[str, Any], revision: int | None = None) -> dict[str, Any]:
        """Remember one as it is now."""
        self._seen[name] = (value, _text(value), revision)
        return value

    def drop(self, name: str) -> None:
        """Forget one."""
        self._seen.pop(name, None)

    def changed(self) -> list[tuple[str, dict[str, Any], int | None]]:
        """Give the names, values and former revisions of those that are not what they were."""
        return [(name, value, last) for name, (value, was, last) in self._seen.items() if _text(value) != was]

    def clear(self) -> None:
        """Forget all."""
        self._seen.clear()


def _an_object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name}: is of type {type(value).__name__}, expected a dict")
    return value


def _without_written(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in WRITTEN}


class Services(MutableMapping[str, dict[str, Any]]):
    """The registry, as a mapping of names to records."""

    def __init__(self, asking: Asking) -> None:
        """Begin with nothing read."""
        self._asking = asking
        self.kept = Kept()

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Give a record; raise ``KeyError``."""
        there = self.kept.get(name)
        if there is not None:
            return there
        found = self._asking.ask("get", name=name)
        if found is None:
            raise KeyError(name)
        return self.kept.keep(name, found["record"], found["revision"])

    def __setitem__(self, name: str, value: dict[str, Any]) -> None:
        """Write a record."""
        (revision,) = self._asking.ask("put", records=[[name, _without_written(_an_object(value, name)), None]])
        self.kept.keep(name, value, revision)

    def __delitem__(self, name: str) -> None:
        """Take a record away; raise ``KeyError``."""
        self.kept.drop(name)
        if not self._asking.ask("delete", name=name):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Give the names, in order."""
        after: str | None = ""
        while after is not None:
            found = self._asking.ask("names", after=after)
            yield from found
            after = found[-1] if found else None

    def __len__(self) -> int:
        """Give the number of records."""
        return sum(1 for _ in self)

    def flush(self) -> None:
        """Write what has been changed."""
        changed = self.kept.changed()
        if changed:
            records = [[name, _without_written(value), revision] for name, value, revision in changed]
            revisions = self._asking.ask("put", records=records)
            for (name, value, _), revision in zip(changed, revisions, strict=True):
                self.kept.keep(name, value, revision)


class Data(MutableMapping[str, Any]):
    """``config.data``: the sections of the configuration, and the registry at ``services``."""

    def __init__(self, asking: Asking) -> None:
        """Begin with nothing read."""
        self._asking = asking
        self._sections: Kept = Kept()
        self.services = Services(asking)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  a dict, or Services
        """Give a section; raise ``KeyError``."""
        if name == SERVICES:
            return self.services
        there = self._sections.get(name)
        return there if there is not None else self._sections.keep(name, self._asking.ask("sections")[name])

    def __setitem__(self, name: str, value: dict[str, Any]) -> None:
        """Write the section of an extension."""
        if name == SERVICES:
            raise TypeError("services: the registry cannot be replaced as a whole; assign its records")
        self._asking.ask("section", name=name, value=_an_object(value, name))
        self._sections.keep(name, value)

    def __delitem__(self, name: str) -> None:
        """Refuse: what the configuration says stays."""
        raise TypeError(f"{name}: a section of the configuration cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        yield SERVICES
        yield from self._asking.ask("sections")

    def __len__(self) -> int:
        """Give the number of sections."""
        return sum(1 for _ in self)

    def flush(self) -> None:
        """Write what has been changed."""
        self.services.flush()
        for name, value, _ in self._sections.changed():
            self[name] = value

    def clear_kept(self) -> None:
        """Forget what was read."""
        self._sections.clear()
        self.services.kept.clear()


class BrokerLock:
    """The one lock of all extensions; a thread that has it can take it again."""

    def __init__(self, asking: Asking, data: Data) -> None:
        """Begin without it."""
        self._asking = asking
        self._data = data
        self._begin()

    def _begin(self) -> None:
        self._mine = RLock()
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; without ``blocking``, or after ``timeout`` seconds in this process, give up and say so."""
        if not self._mine.acquire(blocking, timeout):
            return False
        if self._depth == 0 and not self._asking.ask("lock", wait=blocking):
            self._mine.release()
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Give it back, with what was changed under it written; raise ``RuntimeError`` without it."""
        if not self._depth:
            raise RuntimeError("the lock is not held")
        try:
            if self._depth == 1:
                self._data.flush()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._asking.ask("unlock")
            self._mine.release()

    def __enter__(self) -> bool:
        """Take it."""
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self.release()

    def forget(self) -> None:
        """Begin anew: the broker takes it back when a call ends."""
        if self._depth:
            self._begin()


class Config(ModuleType):
    """The module ``bpbroker.config``."""

    def __init__(self, asking: Asking) -> None:
        """Make it."""
        super().__init__("bpbroker.config")
        self.data = Data(asking)
        self.rlock = BrokerLock(asking, self.data)

    def Save(self) -> None:
        """Write what has been changed in the dicts of ``data``."""
        self.data.flush()

    def begin(self) -> None:
        """Begin a call: what was read in the one before counts no more."""
        self.rlock.forget()
        self.data.clear_kept()

    def end(self) -> None:
        """End a call: write what it has changed."""
        self.data.flush()


def install(asking: Asking) -> Config:
    """Make ``import bpbroker`` work; give its ``config``."""
    package = ModuleType("bpbroker", "The broker, as an extension sees it.")
    package.__path__ = []
    config = Config(asking)
    package.config = config  # type: ignore[attr-defined]
    sys.modules |= {"bpbroker": package, "bpbroker.config": config}
    return config
