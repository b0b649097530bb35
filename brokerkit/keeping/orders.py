"""What ``brokerkit topic`` asks of the running broker, by the control socket: who may open that may do anything.

Names are text in requests and answers; bytes that are no UTF-8 stand in it as Python's surrogates do, so that every
topic can be named.  A list is given in pages, since an answer is one line of bounded length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import OperatorError, Words
from brokerkit.keep import ACKS, MOST_PARTITIONS, PARTITIONERS, TIMESTAMPS
from brokerkit.log.words import LogError, Topic, TopicExists, UnknownTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from brokerkit.broker import Broker
    from brokerkit.log import Log

PAGE = 100  # topics of one answer
PARTITIONS = 200  # of one topic that are described
LONGEST = 4096  # bytes of a name
_WORDS = {"ack": ACKS, "timestamps": TIMESTAMPS, "partitioner": PARTITIONERS}


async def obey(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Do what a request says, and give the answer; raise ``OperatorError`` for what cannot be done."""
    what = request.get("what")
    if what not in list(_ORDERS):
        raise OperatorError(f"what: found {what!r}, expected one of {', '.join(_ORDERS)}")
    try:
        return await _ORDERS[what](broker, request)
    except LogError as error:
        raise OperatorError(str(error)) from None


async def _list(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Give the topics of a tenant behind the name ``after``, in order; ``next`` is the name to go on behind."""
    if not broker.has_log:
        return {"topics": [], "next": None}
    tenant, after = _text(request, "tenant"), _text(request, "after").encode(errors="surrogateescape")
    names = sorted(name for name in broker.log.topics(tenant) if name > after)
    page = [_brief(broker.log, broker.log.topics(tenant)[name]) for name in names[:PAGE]]
    return {"topics": page, "next": page[-1]["name"] if len(names) > PAGE else None}


async def _describe(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Give all that is known of a topic: its settings, the rule that names it, where each partition begins and ends."""
    topic = _topic(broker, request)
    spans = [broker.log.span(topic.name, one, topic.tenant) for one in range(min(topic.partitions, PARTITIONS))]
    rule = broker.keeping.rules.find(topic.tenant, topic.name)
    return {
        **_brief(broker.log, topic),
        "tenant": topic.tenant,
        "settings": attrs.asdict(topic.settings),
        "rule": list(rule.topics) if rule is not None else None,
        "spans": [[span.first, span.next] for span in spans],
    }


async def _create(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Make a topic; one that a rule names is as the rule has it, but for what the request says."""
    from brokerkit.keeping.service import topic_of

    tenant, name = _text(request, "tenant"), _name(request)
    rule = broker.keeping.rules.find(tenant, name)
    usual = topic_of(rule, name) if rule is not None else Topic(tenant, name)
    topic = _changed(usual, request)
    try:
        await broker.log.create(topic)
    except TopicExists:
        raise OperatorError(f"there is a topic {_shown(name)!r} already: brokerkit topic alter changes it") from None
    return _brief(broker.log, topic)


async def _alter(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Change some of a topic's settings; ``rule`` is what names it, and counts again at the next start."""
    topic = _changed(_topic(broker, request), request)
    await broker.log.alter(topic.name, topic.tenant, settings=topic.settings, partitions=topic.partitions)
    rule = broker.keeping.rules.find(topic.tenant, topic.name)
    return {**_brief(broker.log, topic), "rule": list(rule.topics) if rule is not None else None}


async def _delete(broker: Broker, request: Mapping[str, Any]) -> dict[str, object]:
    """Delete a topic with all that is kept of it."""
    topic = _topic(broker, request)
    await broker.log.delete(topic.name, topic.tenant)
    return {"name": _shown(topic.name)}


async def _reload(broker: Broker, _: Mapping[str, Any]) -> dict[str, object]:
    """Read the rules in the file of the configuration again."""
    broker.reread()
    return {"rules": len(broker.keeping.rules.all) if broker.has_log else 0}


_ORDERS: dict[str, Callable[[Broker, Mapping[str, Any]], Coroutine[Any, Any, dict[str, object]]]] = {
    "list": _list,
    "describe": _describe,
    "create": _create,
    "alter": _alter,
    "delete": _delete,
    "reload": _reload,
}


def _topic(broker: Broker, request: Mapping[str, Any]) -> Topic:
    """Give the topic that a request names."""
    name = _name(request)
    if not broker.has_log:
        raise UnknownTopic(name)
    return broker.log.topic(name, _text(request, "tenant"))


def _brief(log: Log, topic: Topic) -> dict[str, Any]:
    numbers = [log.numbers(topic.name, one, topic.tenant) for one in range(topic.partitions)]
    return {
        "name": _shown(topic.name),
        "stream": topic.stream,
        "partitions": topic.partitions,
        "records": sum(one.records for one in numbers),
        "bytes": sum(one.bytes for one in numbers),
        "ack": topic.settings.ack,
        "compact": topic.settings.compact,
    }


def _shown(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


# -- what a request says ----------------------------------------------------------------------------------------------


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key, "")
    if not isinstance(value, str):
        raise OperatorError(f"{key}: expected a string")
    return value


def _name(request: Mapping[str, Any]) -> bytes:
    try:
        name = _text(request, "name").encode(errors="surrogateescape")
    except UnicodeEncodeError:
        name = b""
    if not 0 < len(name) <= LONGEST:
        raise OperatorError(f"name: expected the name of a topic, of 1 to {LONGEST} bytes")
    return name


def _changed(topic: Topic, request: Mapping[str, Any]) -> Topic:
    """Give the topic with what the request says of it."""
    partitions = request.get("partitions", topic.partitions)
    if type(partitions) is not int or not topic.partitions <= partitions <= MOST_PARTITIONS:
        expected = f"a whole number from {topic.partitions} to {MOST_PARTITIONS}: partitions are only ever added"
        raise OperatorError(f"partitions: found {partitions!r}, expected {expected}")
    said = request.get("settings", {})
    if not isinstance(said, dict):
        raise OperatorError("settings: expected an object")
    usual = attrs.asdict(topic.settings)
    for key, value in said.items():
        _check(key, value, usual)
    settings = attrs.evolve(topic.settings, **said)
    return attrs.evolve(
        topic, partitions=partitions, settings=settings, stream=_text(request, "stream") or topic.stream
    )


def _check(key: str, value: object, usual: Mapping[str, Any]) -> None:
    if key not in usual:
        raise OperatorError(f"{key}: found {Words('an unknown setting')}, expected one of {', '.join(usual)}")
    if key in _WORDS:
        fits, expected = value in _WORDS[key], f"one of {', '.join(_WORDS[key])}"
    elif isinstance(usual[key], bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif key.endswith("_seconds"):
        fits, expected = type(value) in {int, float} and 0 <= value < 2**62, "a number, not negative"  # type: ignore[operator]
    else:
        least = int(key == "max_message_bytes")
        fits, expected = type(value) is int and least <= value < 2**62, f"a whole number from {least} on"
    if not fits:
        raise OperatorError(f"{key}: found {value!r}, expected {expected}")
