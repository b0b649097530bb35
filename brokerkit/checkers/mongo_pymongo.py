"""Asking MongoDB by pymongo, in a few threads: SCRAM-SHA-256, several hosts, mongodb+srv, sockets and all its options.

Nobody waits for a thread that is stuck: a name server that does not answer, say, cannot be hurried.
"""

from __future__ import annotations

from functools import partial
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import pymongo
import pymongo.errors

from brokerkit.checkers.mongo_uri import COLLECTION, Refused
from brokerkit.checkers.mongo_words import CODEC, TOO_MANY, explain
from brokerkit.checkers.threads import Threads, within
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from brokerkit.checkers.mongo_uri import Place

SECONDS = 4.0  # that a question may take, with the connection and the login if there is none yet


class ByPymongo:
    """Asks by a client that is made when first needed, in threads that end with ``stop``."""

    def __init__(self, place: Place, reactor: Any) -> None:  # noqa: ANN401  any reactor with threads
        """Ask there, on behalf of that reactor."""
        self._asking = Asking(place)
        self._threads = Threads(reactor)

    def find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> Deferred[list[dict[str, Any]]]:
        """Give the documents, the lowest ``_id`` first.

        Fails with ``Refused``, with ``TooBusy`` where too many ask, and with ``OperatorError`` for everything else that
        is in the way, also for more than ``most`` documents.
        """
        return self._threads.call(partial(self._asking.find, query, fields, most))

    def stop(self) -> None:
        """Take no more questions, and hang up in a thread of its own, which is not waited for."""
        self._threads.stop()
        Thread(target=self._asking.close, daemon=True, name="brokerkit users").start()


class Asking:
    """What is done in the threads."""

    def __init__(self, place: Place, seconds: float = SECONDS) -> None:
        """Connect to nothing yet; a question may take so many seconds, but for name servers."""
        self._place = place
        self._seconds = seconds
        self._lock = Lock()
        self._client: Any = None
        self._closed = False

    def find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> list[dict[str, Any]]:
        """Give the documents, the lowest ``_id`` first; raise what ``ByPymongo.find`` fails with."""
        try:
            with pymongo.timeout(self._seconds):
                collection = self._connected()[self._place.database].get_collection(COLLECTION, CODEC)
                found = list(collection.find(query, fields).sort("_id", 1).limit(most + 1))
        except pymongo.errors.PyMongoError as error:
            raise explain(error) from None
        if len(found) > most:
            raise OperatorError(TOO_MANY.format(most))
        return found

    def close(self) -> None:
        """Hang up; waits for a login that is under way, which would leave a connection behind."""
        self._closed = True
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:  # noqa: ANN401  a MongoClient
        """Give the client, once the server has said that the login counts."""
        with self._lock:
            if self._closed:
                raise OperatorError("brokerkit stops")
            if self._client is None:
                self._client = self._log_in()
            return self._client

    def _log_in(self) -> Any:  # noqa: ANN401
        place = self._place
        milliseconds = int(self._seconds * 1000)
        limits = dict.fromkeys(("connectTimeoutMS", "serverSelectionTimeoutMS", "socketTimeoutMS"), milliseconds)
        missing: dict[str, Any] = {name: value for name, value in limits.items() if name not in place.options}
        client: Any = pymongo.MongoClient(place.uri, connect=False, **missing)
        try:
            status = client.admin.command("connectionStatus")
            if place.username and not status.get("authInfo", {}).get("authenticatedUsers"):
                raise Refused(f"the login of {place.username!r} failed: the server does not know of it")
        except BaseException:
            client.close()
            raise
        return client


def try_now(place: Place, seconds: float) -> None:
    """Log in and look whether the users can be read; blocks, for ``seconds`` at most.

    Raises ``Refused`` if the database says no, and ``OperatorError`` if it cannot be asked.
    """
    try:
        within(seconds, partial(_try, place, seconds * 0.9))
    except TimeoutError:
        raise OperatorError(f"no answer in {seconds:g} s") from None


def _try(place: Place, seconds: float) -> None:
    asking = Asking(place, seconds)
    try:
        asking.find({"identifier": ""}, {"_id": 1}, 1)
    finally:
        asking.close()
