"""What extensions may read and write by way of ``bpbroker.config.data``: the registry, and sections of settings.

What an extension writes into its own section is kept in the registry, under a name that nobody else sees; the
configuration itself is never changed.  Access keys and other members that begin with ``_`` are not handed out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.registry import Conflict, Delete, Put, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.registry import Entry, Registry

PAGE = 500  # names in one answer
KEPT = "_extension."  # what the names of kept sections begin with


class ExtensionData:
    """Answers questions of children; ``sections`` are the configuration's, as its file has them."""

    def __init__(self, registry: Registry, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Answer from those."""
        self._registry = registry
        self._sections = sections

    async def answer(self, question: dict[str, Any], package: str, address: str) -> dict[str, Any]:
        """Give what a child is told; ``package`` and ``address`` say on whose behalf it asks."""
        asked = {
            "get": self._get,
            "names": self._names,
            "put": self._put,
            "delete": self._delete,
            "sections": self._all_sections,
            "section": self._put_section,
        }.get(str(question.get("ask")))
        if asked is None:
            return {"refused": "there is no such question"}
        try:
            return {"answer": await asked(question, f"extension {package}", address)}
        except Conflict as error:
            return {"refused": f"{error.name}: somebody else has changed it in the meantime"}
        except (RegistryError, _Refused) as error:
            return {"refused": str(error)}

    async def _get(self, question: dict[str, Any], _by: str, _ip: str) -> dict[str, Any] | None:
        name = str(question["name"])
        entry = None if name.startswith("_") else self._registry.get(name)
        return None if entry is None else {"record": record(entry), "revision": entry.revision}

    async def _names(self, question: dict[str, Any], _by: str, _ip: str) -> list[str]:
        return [entry.name for entry in self._registry.list("", str(question["after"]), PAGE)]

    async def _put(self, question: dict[str, Any], by: str, ip: str) -> list[int]:
        puts = [Put(_written(name), value, revision) for name, value, revision in question["records"]]
        return [entry.revision for entry in await self._registry.write(puts, by, ip) if entry is not None]

    async def _delete(self, question: dict[str, Any], by: str, ip: str) -> bool:
        name = _written(question["name"])
        was_there = self._registry.get(name) is not None
        await self._registry.write([Delete(name)], by, ip)
        return was_there

    async def _all_sections(self, _question: dict[str, Any], by: str, _ip: str) -> dict[str, Any]:
        names = {**self._sections, by.removeprefix("extension "): {}}
        return {name: self._section(name) for name in names if not name.startswith("_") and name != "services"}

    async def _put_section(self, question: dict[str, Any], by: str, ip: str) -> None:
        name, value = str(question["name"]), question["value"]
        if f"extension {name}" != by:
            raise _Refused(f"{name}: is not the section of this extension")
        told = _open(self._sections.get(name, {}))
        own = {key: part for key, part in _open(value).items() if key not in told or told[key] != part}
        await self._registry.write([Put(KEPT + name, own)], by, ip)

    def _section(self, name: str) -> dict[str, Any]:
        kept = self._registry.get(KEPT + name)
        return {**_open(self._sections.get(name, {})), **(kept.data if kept is not None else {})}


class _Refused(Exception):
    """It is not to be done, and why."""


def record(entry: Entry) -> dict[str, Any]:
    """Give an entry as the original keeps it."""
    return {**entry.data, "last_write_ip": entry.ip, "last_write_ts": entry.ts}


def _open(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in section.items() if not key.startswith("_")}


def _written(name: object) -> str:
    if not isinstance(name, str) or name.startswith("_"):
        raise _Refused(f"{name}: names that begin with _ are not to be written")
    return name
