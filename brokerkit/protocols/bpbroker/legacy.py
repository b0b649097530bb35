"""The API of the original: its paths, parameters, members, statuses and reason phrases, over our registry.

What made the original drop the connection is answered here, and what destroyed a record on the way to an error is
refused before anything is written.  Checks come in the original's order: package, access key, method, parameters.
A failure of the business (an entry that is there, or not) is 200 with ``"success": false``, as it was; every other
failure has the same members under its own status, so that an old client prints the text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from brokerkit.errors import BrokerError
from brokerkit.protocols.bpbroker.call import EXECUTE, Call, ExtensionFailed, NoPlace, Outcome, TooLong, UnknownMethod
from brokerkit.protocols.bpbroker.door import KEY, WRONG, Visitor
from brokerkit.registry import Conflict, Delete, Merge, NoRoom, Put, RegistryError, Unusable
from brokerkit.registry.access import READ, WRITE, may
from brokerkit.registry.words import HIDDEN
from brokerkit.web import Answer, Problem, parse_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from brokerkit.protocols.bpbroker.call import Extensions
    from brokerkit.protocols.bpbroker.door import Door
    from brokerkit.registry import Entry, Registry
    from brokerkit.web import Asked

    Do = Callable[["_Request"], Awaitable[Answer]]

log = Logger()

METHODS = ("GET", "POST", "DELETE")  # to the original, all the same
RESERVED = ("last_write_ip", "last_write_ts")
SECRET_HEADERS = {"authorization", "x-access-key", "cookie", "proxy-authorization"}
SHOWN = 40  # characters of a method that is none
LONGEST = 200  # characters of a reason phrase
_PATH = re.compile(rb"/([^/]+)/([^/]+)/*", re.DOTALL)
_JSON = {"content-type": "application/json"}


class Refused(BrokerError):
    """A request ends with a status and a text, which is the reason phrase, too."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Take what is answered."""
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Give the answer, in the members of the original."""
        body = {"success": False, "message": self.text, "data": {}}
        return Answer(self.status, json.dumps(body).encode(), {**_JSON, **self.headers}, self.text[:LONGEST])


class _Request:
    """One request, as far as it was understood."""

    def __init__(self, asked: Asked, package: str, method: str) -> None:
        self.asked = asked
        self.package = package
        self.method = method
        self.in_query, self.values = read_parameters(asked)
        self.visitor: Visitor

    def value(self, name: str) -> str:
        """Give a parameter that has to be there; raise ``Refused``."""
        found = self.values.get(name)
        if found is None:
            raise Refused(400, f"Missing {name} parameter")
        return found

    def name(self) -> str:
        """Give the name of an entry; an empty one is none."""
        if not self.values.get("name"):
            raise Refused(400, "Missing name parameter")
        return self.values["name"]


class Legacy:
    """Answers whatever the modern API has no route for."""

    def __init__(
        self,
        registry: Registry,
        door: Door,
        extensions: Extensions | None = None,
        *,
        get_writes: bool = False,
        query_keys: bool = True,
        guards_ping: Callable[[], bool] = bool,
    ) -> None:
        """Serve that registry, and the methods of ``extensions``, to whom the door lets in.

        ``get_writes`` lets GET change something, ``query_keys`` lets keys stand in the query, and ``guards_ping`` says
        whether ping asks for a right, too.
        """
        self._registry = registry
        self._door = door
        self._extensions = extensions
        self._get_writes = get_writes
        self._query_keys = query_keys
        self._guards_ping = guards_ping
        self._services: dict[str, tuple[str, Do]] = {
            "Register": (WRITE, self._register),
            "Replace": (WRITE, self._replace),
            "Update": (WRITE, self._update),
            "Get": (READ, self._get),
            "List": (READ, self._get),  # the original's lists nothing: it is another word for Get
            "Delete": (WRITE, self._delete),
        }

    async def answer(self, asked: Asked) -> Answer:
        """Answer a request; whatever is wrong with it is an answer, too."""
        try:
            if asked.method not in METHODS:
                raise Refused(501, f"Unsupported method ({asked.method[:SHOWN]!r})")
            return await self._answer(asked)
        except Refused as refused:
            return refused.answer()
        except Problem as problem:
            return Refused(problem.status, problem.title, problem.headers).answer()

    async def _answer(self, asked: Asked) -> Answer:
        package, method = read_path(asked.target)
        if package not in {"ping", "services"} and not self._is_extension(package):
            raise Refused(401, "Unauthorized package")
        request = _Request(asked, package, method)
        request.visitor = await self._admit(request)
        if package == "services":
            return await self._service(request)
        if package == "ping":
            return self._ping(request)
        return await self._execute(request)

    def _is_extension(self, package: str) -> bool:
        if package in {"api", "worker", "v1"} or package.startswith("_"):
            return False
        return self._extensions is not None and self._extensions.has(package)

    async def _admit(self, request: _Request) -> Visitor:
        key = request.values.pop(KEY, "")
        if key and request.in_query and not self._query_keys:
            raise Refused(401, "Access keys in the query are not accepted, use the header X-Access-Key")
        return await self._door.admit(request.asked, key)

    # -- rights -------------------------------------------------------------------------------------------------------

    def _see_key(self, visitor: Visitor, *, good: bool) -> None:
        """Raise ``Refused`` unless the key is good for this section: to who has shown none, as if it was wrong."""
        if not good:
            raise Refused(401, WRONG) if not visitor.known else Refused(403, "Access key is not good for this")

    def _see_name(self, request: _Request, action: str, name: str) -> None:
        self._see_key(request.visitor, good=may(request.visitor.client, action, name))

    def _see_verb(self, request: _Request) -> None:
        """Raise ``Refused`` for a change by GET: links and previews ask for those."""
        if request.asked.method == "GET" and not self._get_writes:
            raise Refused(405, "Use POST to change something", {"allow": "POST, DELETE"})

    # -- ping ---------------------------------------------------------------------------------------------------------

    def _ping(self, request: _Request) -> Answer:
        good = not self._guards_ping() or request.visitor.may(EXECUTE, b"ping." + request.method.encode())
        self._see_key(request.visitor, good=good)
        if request.method != "Ping":
            raise Refused(401, "Unauthorized method")
        text = request.value("data")
        parsed, value = read_json(text)
        return _json({"src": request.asked.address, "data": value if parsed else {"_str": text}})

    # -- services -----------------------------------------------------------------------------------------------------

    async def _service(self, request: _Request) -> Answer:
        action, do = self._services.get(request.method, ("", None))
        visitor = request.visitor
        some = visitor.may_some(action) if action else visitor.may_some(READ) or visitor.may_some(WRITE)
        self._see_key(visitor, good=some)
        if do is None:
            raise Refused(401, "Unauthorized method")
        if action == WRITE:
            self._see_verb(request)
        return await do(request)

    async def _get(self, request: _Request) -> Answer:
        name = request.name()
        self._see_name(request, READ, name)
        entry = None if name.startswith(HIDDEN) else self._registry.get(name)
        if entry is None:
            return _json({"success": False, "message": f"Entry '{name}' not found", "data": {}})
        return _success(entry)

    async def _register(self, request: _Request) -> Answer:
        data = request.value("data")
        name = self._writable(request)
        put = Put(name, read_data(data), if_absent=True)
        try:
            return _success(await self._write(request, put))
        except Conflict:
            return _json({"success": False, "message": f"Entry '{name}' already exists", "data": {}})

    async def _replace(self, request: _Request) -> Answer:
        name = self._writable(request)
        return _success(await self._write(request, Put(name, read_data(request.value("data")))))

    async def _update(self, request: _Request) -> Answer:
        data = request.value("data")
        name = self._writable(request)
        return _success(await self._write(request, Merge(name, read_data(data))))

    async def _delete(self, request: _Request) -> Answer:
        name = request.name()
        self._see_name(request, WRITE, name)
        if not name.startswith(HIDDEN):  # what cannot be seen is not there, and deleting what is not there is fine
            await self._write(request, Delete(name))
        return _json({"success": True, "message": "Success"})

    def _writable(self, request: _Request) -> str:
        name = request.name()
        self._see_name(request, WRITE, name)
        if name.startswith(HIDDEN):
            raise Refused(400, "Names that begin with _ are reserved")
        return name

    async def _write(self, request: _Request, operation: Put | Merge | Delete) -> Any:  # noqa: ANN401  an Entry, or None
        try:
            found = await self._registry.write([operation], request.visitor.name, request.asked.address)
        except Conflict:
            raise
        except RegistryError as error:
            raise _unwritten(error) from None
        return found[0]

    # -- extensions ---------------------------------------------------------------------------------------------------

    async def _execute(self, request: _Request) -> Answer:
        topic = f"{request.package}.{request.method}".encode()
        self._see_key(request.visitor, good=request.visitor.may(EXECUTE, topic))
        if request.method.startswith("_") or self._extensions is None:
            raise Refused(401, "Unauthorized method")
        self._see_verb(request)
        try:
            outcome = await self._extensions.call(_call(request))
        except UnknownMethod:
            raise Refused(401, "Unauthorized method") from None
        except TooLong:
            raise Refused(504, "The extension took too long") from None
        except NoPlace:
            raise Refused(503, "Too many calls are waiting", {"retry-after": "1"}) from None
        except ExtensionFailed:
            raise Refused(500, "The extension failed") from None
        except Exception as error:
            log.failure("the extension {package}.{method} failed", package=request.package, method=request.method)
            raise Refused(500, "The extension failed") from error
        return _outcome(outcome)


# -- reading ------------------------------------------------------------------------------------------------------


def read_path(target: bytes) -> tuple[str, str]:
    """Give the package and the method of ``/package/Method``, not decoded; raise ``Refused`` 404 if it is none."""
    found = _PATH.fullmatch(target.replace(b"/?", b"?").partition(b"?")[0])
    if found is None:
        raise Refused(404, "Not Found")
    return found[1].decode("latin-1"), found[2].decode("latin-1")


def read_parameters(asked: Asked) -> tuple[bool, dict[str, str]]:
    """Give whether the parameters stand in the query, and the parameters; raise ``Problem`` 400.

    The body counts only if the query has no parameter with a value, as it was.
    """
    query = asked.target.replace(b"/?", b"?").partition(b"?")[2]
    if asked.body and not parse_query(query, semicolons=True, blank=False):
        return False, parse_query(asked.body, semicolons=True)
    return True, parse_query(query, semicolons=True)


def read_json(text: str) -> tuple[bool, Any]:
    """Say whether a text is JSON, and give what it says."""
    try:
        return True, json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, None


def _refuse(word: str) -> None:
    raise ValueError(word)


def read_data(text: str) -> dict[str, Any]:
    """Give the record that a text stands for: a JSON object as it is, everything else as text.

    Raises ``Refused`` for an object with the members that the broker adds.
    """
    parsed, value = read_json(text)
    if not parsed or not isinstance(value, dict):
        return {"_str": text}
    for name in RESERVED:
        if name in value:
            raise Refused(400, f"Used reserved data name {name}")
    return value


def _call(request: _Request) -> Call:
    asked = request.asked
    headers = {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in asked.headers.items()
        if name.decode("latin-1").lower() not in SECRET_HEADERS
    }
    path = asked.target.partition(b"?")[0].decode("latin-1")
    return Call(request.package, request.method, request.values, asked.address, asked.method, path, headers)


# -- answering ----------------------------------------------------------------------------------------------------


def record(entry: Entry) -> dict[str, Any]:
    """Give an entry as the original shows it."""
    return {**entry.data, "last_write_ip": entry.ip, "last_write_ts": entry.ts}


def _json(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode(), _JSON)


def _success(entry: Entry) -> Answer:
    return _json({"success": True, "message": "Success", "data": record(entry)})


def _unwritten(error: RegistryError) -> Refused:
    """Give what is answered to a write that was not done."""
    if isinstance(error, Unusable):
        return Refused(400, str(error))
    if isinstance(error, NoRoom):
        return Refused(507, str(error))
    return Refused(503, str(error), {"retry-after": "1"})


def _outcome(outcome: Outcome) -> Answer:
    """Give what an extension has set; a status that is none, or has no body, would leave the client waiting."""
    if outcome.status == 200:  # noqa: PLR2004
        return Answer(200, outcome.data, {"content-type": outcome.content_type or "application/json"})
    if not 201 <= outcome.status <= 599 or outcome.status in {204, 304}:  # noqa: PLR2004
        log.warn("an extension set the status {status}, which cannot be sent", status=outcome.status)
        raise Refused(500, "The extension failed")
    raise Refused(outcome.status, outcome.status_message)
