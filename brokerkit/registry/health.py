"""Health checks of entries: by a heartbeat, a TCP connection or a GET; discovery answers for what is well only.

What is checked is itself an entry, ``_check/NAME``, so it lasts as all do, and goes when its entry goes.  How it went
is known in memory only: after a start, an entry with a check is not well until that is seen.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.entrance import read_networks
from brokerkit.registry.probes import TTL, Probe, Unwell, look, read_probe
from brokerkit.registry.words import PUT, Conflict, Delete, Put, RegistryError, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twisted.internet.interfaces import IDelayedCall

    from brokerkit.entrance import Network
    from brokerkit.registry.service import Registry
    from brokerkit.registry.words import Change

log = Logger()

PREFIX = "_check/"
EVERY = 10.0  # seconds between two looks, unless a check says its own
# Not loopback, where the broker's own machine trusts itself, and not link-local, where clouds keep their secrets.
NETWORKS = read_networks(("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"), "health checks")
AT_ONCE = 32  # looks that go on at once
MOST = 10_000  # checks


class _Checked:
    """One check, and how it went."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.passing = False
        self.why = "not looked at yet"
        self.since: float | None = None
        self.alarm: IDelayedCall | None = None
        self.looking = False

    def stop(self) -> None:
        alarm, self.alarm = self.alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()


class Health(Service):
    """The checks of a registry, whose ``health`` it becomes."""

    def __init__(
        self,
        registry: Registry,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        networks: tuple[Network, ...] = NETWORKS,
        every: float = EVERY,
    ) -> None:
        """Look at what is in those networks, every so many seconds where a check says nothing."""
        self.networks = networks
        self.every = every
        registry.health = self
        self._registry = registry
        self._reactor = reactor
        self._checked: dict[str, _Checked] = {}
        self._due: deque[tuple[str, _Checked]] = deque()
        self._looking = 0
        self._deaf: Any = None

    def startService(self) -> None:
        """Begin with the checks that are stored."""
        super().startService()  # type: ignore[no-untyped-call]
        self._deaf = self._registry.listen(self._changed, hidden=True)
        for entry in self._registry.list(PREFIX):
            self._begin(entry.name.removeprefix(PREFIX), entry.data)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._deaf is not None:
            self._deaf()
        for checked in self._checked.values():
            checked.stop()
        self._checked.clear()
        self._due.clear()

    # -- asking -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Give the number of checks."""
        return len(self._checked)

    @property
    def failing(self) -> int:
        """The number of checks that do not pass."""
        return sum(not checked.passing for checked in self._checked.values())

    def passes(self, name: str) -> bool:
        """Say whether an entry is well; one without a check is."""
        checked = self._checked.get(name)
        return checked is None or checked.passing

    def shown(self, name: str) -> dict[str, Any] | None:
        """Give the check of an entry and how it went, ``None`` if it has none."""
        checked, entry = self._checked.get(name), self._registry.get(PREFIX + name)
        if checked is None or entry is None:
            return None
        return {
            "name": name,
            "check": entry.data,
            "passing": checked.passing,
            "why": checked.why,
            "since": checked.since,
        }

    def names(self) -> Iterator[str]:
        """Give the names of the entries that have checks, in order."""
        return iter(sorted(self._checked))

    # -- changing -----------------------------------------------------------------------------------------------------

    async def put(self, name: str, data: Mapping[str, Any], by: str, ip: str) -> None:
        """Give an entry a check; raise ``Conflict`` if there is no such entry, or what ``write`` raises."""
        read_probe(data, self.every)
        if self._registry.get(name) is None:
            raise Conflict(name, None)
        if len(self._checked) >= MOST and name not in self._checked:
            raise Unusable(f"there are {MOST} health checks already")
        await self._registry.write([Put(PREFIX + name, data)], by, ip)

    async def remove(self, name: str, by: str, ip: str) -> None:
        """Take the check of an entry away; raise ``Conflict`` if it has none, or what ``write`` raises."""
        await self._registry.write([Delete(PREFIX + name, if_there=True)], by, ip)

    def report(self, name: str, *, passing: bool) -> bool:
        """Take a heartbeat, or word that an entry is not well; say whether it has a check that waits for those."""
        checked = self._checked.get(name)
        if checked is None or checked.probe.kind != TTL:
            return False
        self._take(name, checked, "" if passing else "it says so itself")
        checked.stop()
        if passing:
            checked.alarm = self._reactor.callLater(checked.probe.every, self._missed, name, checked)
        return True

    def _missed(self, name: str, checked: _Checked) -> None:
        self._take(name, checked, "no heartbeat in time")

    def _changed(self, change: Change) -> None:
        name = change.name
        if name.startswith(PREFIX):
            name = name.removeprefix(PREFIX)
            if change.operation == PUT:
                self._begin(name, change.entry.data)
            else:
                self._end(name)
        elif change.operation != PUT and name in self._checked:
            self._registry.write([Delete(PREFIX + name)]).addErrback(self._not_removed)

    def _not_removed(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        failure.trap(RegistryError)
        log.warn("a health check of an entry that is gone stays: {error}", error=failure.getErrorMessage())

    # -- looking ------------------------------------------------------------------------------------------------------

    def _begin(self, name: str, data: Mapping[str, Any]) -> None:
        self._end(name)
        try:
            probe = read_probe(data, self.every)
        except Unusable as error:  # of a later brokerkit, perhaps
            log.warn("the health check of {name} cannot be meant: {error}", name=name, error=str(error))
            return
        checked = self._checked[name] = _Checked(probe)
        if probe.kind != TTL:
            self._soon(name, checked, random.uniform(0, min(1.0, probe.every)))  # noqa: S311  to spread, not to hide

    def _end(self, name: str) -> None:
        checked = self._checked.pop(name, None)
        if checked is not None:
            checked.stop()

    def _soon(self, name: str, checked: _Checked, after: float) -> None:
        checked.alarm = self._reactor.callLater(after, self._queue, name, checked)

    def _queue(self, name: str, checked: _Checked) -> None:
        self._due.append((name, checked))
        self._next()

    def _next(self) -> None:
        while self._due and self._looking < AT_ONCE:
            name, checked = self._due.popleft()
            if self._checked.get(name) is checked:
                self._looking += 1
                Deferred.fromCoroutine(self._look(name, checked))

    async def _look(self, name: str, checked: _Checked) -> None:
        try:
            await look(self._reactor, checked.probe, self.networks)
            why = ""
        except Unwell as error:
            why = str(error)
        except Exception:  # a bug makes an entry unwell, and nothing else
            log.failure("a health check failed because of a bug")
            why = "it could not be looked at"
        self._looking -= 1
        if self._checked.get(name) is checked:
            self._take(name, checked, why)
            self._soon(name, checked, checked.probe.every)
        self._next()

    def _take(self, name: str, checked: _Checked, why: str) -> None:
        passing = not why
        if passing != checked.passing or checked.since is None:
            checked.since = self._reactor.seconds()
            if passing != checked.passing:
                log.info("health of {name!r}: {state}", name=name, state="well" if passing else f"not well: {why}")
        checked.passing, checked.why = passing, why
