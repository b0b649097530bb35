"""KastleX's API: its routes, each behind who asks and within what KastleX answers in.

What a route does gets the request and the client that it acts as; what it gives or raises is dressed as KastleX'
answers are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.kafka_rest.kastlex_accept import accepted
from brokerkit.protocols.kafka_rest.kastlex_documents import documented
from brokerkit.protocols.kafka_rest.kastlex_fetch import Fetching
from brokerkit.protocols.kafka_rest.kastlex_groups import Grouping
from brokerkit.protocols.kafka_rest.kastlex_login import LoggingIn
from brokerkit.protocols.kafka_rest.kastlex_metrics import Metrics
from brokerkit.protocols.kafka_rest.kastlex_produce import Producing
from brokerkit.protocols.kafka_rest.kastlex_topics import Showing
from brokerkit.protocols.kafka_rest.shapes import head, refused
from brokerkit.web import Answer, Parameter, Problem, Route, Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from brokerkit.client import Client
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked

    Given = Answer | Stream
    Call = Callable[[Asked, Client], Given | Awaitable[Given]]
    OpenCall = Callable[[Asked], Given | Awaitable[Given]]

_WHOLE = {"minimum": 0, "maximum": (1 << 31) - 1}
_KEY = (Parameter("key", "The key of the message."),)
_PLACE = {"pattern": "^(-?[0-9]{1,18}|earliest|latest|last)$"}
_OFFSET = (
    Parameter("offset", "A number, a negative one (from the end), earliest, latest or last.", schema=_PLACE),
    Parameter("max_wait_time", "Milliseconds to wait for a message.", kind="integer", schema=_WHOLE),
    Parameter("min_bytes", "Bytes that are worth an answer before that.", kind="integer", schema=_WHOLE),
    Parameter("max_bytes", "Bytes of messages at most; one is always given.", kind="integer", schema=_WHOLE),
)
_TIME = {"pattern": "^([0-9]{1,18}|earliest|latest)$"}
_AT = (Parameter("at", "latest, earliest, or a time in milliseconds since 1970.", schema=_TIME),)
_PRODUCED = {204: "Kept; x-kafka-partition and x-message-offset say where.", 404: "Unknown topic or partition."}
_FETCHED = {200: "The messages.", 404: "Unknown topic or partition.", 503: "No such offset."}


def routes(service: KafkaRest) -> tuple[Route, ...]:
    """Give the routes of KastleX."""
    dress = Dress(service)
    say, known = dress.open, dress.known
    showing, producing, fetching = Showing(service), Producing(service), Fetching(service)
    grouping, logging_in = Grouping(service), LoggingIn(service)
    metrics = say(Metrics(service, grouping).metrics, checks=False)
    found = [
        Route("POST", "/login", say(logging_in.login), "Get a token for a name and its password"),
        Route("GET", "/favicon.ico", say(_nothing)),
        Route("GET", "/metrics", metrics, "Offsets of topics and groups, for Prometheus"),
        Route("GET", "/admin/reload", known(logging_in.reload), "Have the files of users read again"),
        Route("DELETE", "/admin/tokens/{username}", known(logging_in.revoke), "Take a user's token back"),
        Route("GET", "/api/v1/topics", known(showing.topics), "List the topics"),
        Route("GET", "/api/v1/topics/{topic}", known(showing.topic), "Show a topic"),
        Route("GET", "/api/v1/brokers", known(showing.brokers), "List the brokers"),
        Route("GET", "/api/v1/brokers/{broker}", known(showing.broker), "Show a broker"),
        Route("GET", "/api/v1/offsets/{topic}/{partition}", known(showing.offset), "Give an offset", _AT),
        Route("GET", "/api/v1/urp", known(showing.all_urps), "List partitions that lack replicas"),
        Route("GET", "/api/v1/urp/{topic}", known(showing.urps), "List those of a topic"),
    ]
    for version, fetch, group in (("v1", fetching.v1, grouping.v1), ("v2", fetching.v2, grouping.v2)):
        messages = f"/api/{version}/messages/{{topic}}"
        produce, fetched = known(producing.produce, checks=False), known(fetch, checks=False)
        body = "The message, as it is."
        found += [
            Route("POST", messages, produce, "Publish to any partition", _KEY, _PRODUCED, body),
            Route("POST", f"{messages}/{{partition}}", produce, "Publish to a partition", _KEY, _PRODUCED, body),
            Route("GET", f"{messages}/{{partition}}", fetched, "Read from an offset on", _OFFSET, _FETCHED),
            Route("GET", f"{messages}/{{partition}}/{{offset}}", fetched, "Read from there on", _OFFSET[1:], _FETCHED),
            Route("GET", f"/api/{version}/consumers", known(grouping.groups), "List the consumer groups"),
            Route("GET", f"/api/{version}/consumers/{{group}}", known(group), "Show a consumer group"),
        ]
    return tuple(documented(found))


def _nothing(_: Asked) -> Answer:
    raise Problem(404, "Not Found", error="Not found")


class Dress:
    """Puts around what routes do what is the same for all of them."""

    def __init__(self, service: KafkaRest) -> None:
        """Ask who asks at that listener."""
        self._who = service.who

    def open(self, call: OpenCall, *, checks: bool = True) -> Callable[[Asked], Any]:
        """Give a call for everybody; with ``checks``, the request has to accept what KastleX can give."""

        async def answer(asked: Asked) -> Given:
            headers = head(asked)
            try:
                if checks:
                    accepted(asked)
                return dressed(await _result(call(asked)), headers)
            except Problem as problem:
                return refused(problem, headers)

        return answer

    def known(self, call: Call, *, checks: bool = True) -> Callable[[Asked], Any]:
        """Give a call for those whom the sources of users let in, if only as anonymous."""
        who = self._who

        async def answer(asked: Asked) -> Given:
            headers = head(asked)
            try:
                if checks:
                    accepted(asked)
                client = who.known(asked) or await who.client(asked)
                return dressed(await _result(call(asked, client)), headers)
            except Problem as problem:
                return refused(problem, headers)

        return answer


async def _result(given: Given | Awaitable[Given]) -> Given:
    return given if isinstance(given, Answer | Stream) else await given


def dressed(given: Given, headers: dict[str, str]) -> Given:
    """Give an answer with what stands in the head of each; an empty one has no type, unless it says one."""
    if isinstance(given, Stream):
        return Stream(given.start, given.status, {**headers, **given.headers}, given.reason)
    if given.status == 204:  # noqa: PLR2004
        headers.pop("content-type")
    return Answer(given.status, given.body, {**headers, **given.headers})
