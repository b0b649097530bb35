"""The registry through the router: who hears of its changes, who may ask, and that nobody else speaks there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.deliver import pass_on
from brokerkit.errors import ClientError, NotAllowed
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, Responses, literal, patterns
from brokerkit.registry import Delete, Put
from brokerkit.registry.access import READ, rules
from brokerkit.run import Message, Spoken
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.client import Client as BrokerClient

ALL_TOPICS = Access(patterns([b">"]))
INBOX = b"_INBOX.1"


def _grants(*subscribe: bytes, read: tuple[str, ...] = (), deny: tuple[bytes, ...] = ()) -> Grants:
    """Make grants that allow all of publish, these of subscribe and these names to be read."""
    actions = {PUBLISH: ALL_TOPICS, SUBSCRIBE: Access(patterns(subscribe), patterns(deny))}
    return Grants({**actions, READ: Access(rules(read))} if read else actions)


class Here:
    """A broker with a registry, and users with these grants."""

    def __init__(self, **grants: Grants) -> None:
        """Start it."""
        self.memory = MemoryBroker(users=dict.fromkeys(grants, "secret"), grants=grants)
        self.registry = self.memory.broker.registry

    def client(self, name: str, protocol: str = "nats", *subscribe: bytes) -> Any:
        """Give a client of one of the users, that has subscribed."""
        client = self.memory.client(protocol, name)
        for pattern in subscribe:
            client.subscribe(pattern)
        return client

    def put(self, *names: str) -> None:
        """Write entries."""
        for name in names:
            self.registry.write([Put(name, {"port": 80})], "tester", "192.0.2.1")

    def local(self, grants: Grants = ALL) -> BrokerClient:
        """Give a client of the program that embeds the broker."""
        return self.memory.broker.client("local", grants)


def _topics(client: Any) -> list[bytes]:
    return [message.topic for message in client.messages()]


def test_a_change_is_a_message() -> None:
    """What is written, and what is deleted, is told as JSON with revision, operation and record, in that order."""
    here = Here(ann=_grants(b"registry.>"))
    ann = here.client("ann", "nats", b"registry.>")
    here.put("web", "a.b *")
    here.registry.write([Delete("web")])
    told = [(message.topic, json.loads(message.payload)) for message in ann.messages()]
    assert [topic for topic, _ in told] == [b"registry.web", b"registry.a=2Eb=20=2A", b"registry.web"]
    assert [change["revision"] for _, change in told] == [1, 2, 3]
    assert [change["operation"] for _, change in told] == ["put", "put", "delete"]
    assert [change["name"] for _, change in told] == ["web", "a.b *", "web"]
    assert told[0][1]["record"]["data"] == {"port": 80}
    assert told[0][1]["by"] == "tester"


def test_an_expiry_is_a_message() -> None:
    """An entry whose time has passed is told of as well."""
    here = Here(ann=_grants(b"registry.>"))
    ann = here.client("ann", "nats", b"registry.*")
    here.registry.write([Put("web", {}, ttl=5)])
    here.memory.advance(6)
    assert [json.loads(message.payload)["operation"] for message in ann.messages()] == ["put", "expire"]


def test_other_protocols_hear_of_it() -> None:
    """A change reaches hpfeeds as it reaches NATS."""
    here = Here(ann=Grants({SUBSCRIBE: Access(literal([b"registry.web"]))}))
    ann = here.client("ann", "hpfeeds", b"registry.web")
    here.put("web", "other")
    assert _topics(ann) == [b"registry.web"]


def test_hidden_names_are_not_told_of() -> None:
    """Names of the broker's own stay its own."""
    here = Here(ann=_grants(b"registry.>"))
    ann = here.client("ann", "nats", b"registry.>")
    here.put("_lock", "web")
    assert _topics(ann) == [b"registry.web"]


@pytest.mark.parametrize("rule", [b">", b"*.web", b"*.>"])
def test_a_grant_that_does_not_say_so_does_not_reach_them(rule: bytes) -> None:
    """Neither a subscription to everything nor one to the changes brings them to who has a grant for ``>``."""
    here = Here(ann=_grants(rule, b"_INBOX.>"))
    ann = here.client("ann", "nats", rule)
    here.put("web")
    here.local().publish(b"other.web", b"")
    assert _topics(ann) == [b"other.web"]
    for pattern in (b"registry.>", b"registry.web", b"registry.*"):
        with pytest.raises(ClientError, match="Permissions Violation for Subscription"):
            ann.subscribe(pattern)


def test_a_grant_that_says_so_brings_them_to_a_wide_subscription() -> None:
    """Who may hear of some entries hears of those, and of no others, by ``>`` as well."""
    here = Here(ann=_grants(b">", b"registry.web"))
    ann = here.client("ann", "nats", b">")
    here.put("web", "secret")
    assert _topics(ann) == [b"registry.web"]


def test_whoever_may_read_may_watch() -> None:
    """The right to read names that begin so is the right to hear of them; the rest of a subscription is left out."""
    here = Here(ann=_grants(b"x", read=("web-*", "db")))
    ann = here.client("ann", "nats", b"registry.>", b"registry.db")
    here.put("web-1", "web-2", "db", "other", "we")
    assert sorted(_topics(ann)) == [b"registry.db", b"registry.db", b"registry.web-1", b"registry.web-2"]
    with pytest.raises(ClientError):
        ann.subscribe(b"registry.other")


def test_a_denial_wins() -> None:
    """What is denied is not heard, whatever allows it."""
    here = Here(ann=_grants(b"registry.>", read=("*",), deny=(b"registry.secret",)))
    ann = here.client("ann", "nats", b"registry.>")
    here.put("secret", "web")
    assert _topics(ann) == [b"registry.web"]
    with pytest.raises(ClientError):
        ann.subscribe(b"registry.secret")


def test_a_listener_where_nobody_may_subscribe() -> None:
    """The right to read is no way around the mode of a listener."""
    grants = {"ann": _grants(b"x", read=("*",))}
    memory = MemoryBroker(users={"ann": "secret"}, grants=grants, settings={"nats": {"mode": "push"}})
    assert memory.broker.registry is not None
    with pytest.raises(ClientError):
        memory.client("nats", "ann").subscribe(b"registry.>")


@pytest.mark.parametrize("topic", [b"registry.web", b"registry.a.b"])
def test_only_the_broker_publishes_there(topic: bytes) -> None:
    """A NATS client's message is refused in NATS's words, and nobody gets it."""
    here = Here(ann=ALL, bob=_grants(b"registry.>"))
    bob = here.client("bob", "nats", b"registry.>")
    ann = here.client("ann")
    with pytest.raises(ClientError, match="Permissions Violation for Publish"):
        ann.publish(topic, b"{}")
    with pytest.raises(NotAllowed):
        here.local().publish(topic, b"{}")
    assert _topics(bob) == []


def test_only_the_broker_publishes_there_in_hpfeeds_too() -> None:
    """An hpfeeds client is told so in hpfeeds's words."""
    here = Here(ann=ALL)
    with pytest.raises(ClientError):
        here.client("ann", "hpfeeds").publish(b"registry.web", b"{}")


@pytest.mark.parametrize("spelling", [b"registry..web", b"registry."])
def test_odd_spellings_lead_nowhere(spelling: bytes) -> None:
    """A name with an empty token is the broker's own, too."""
    here = Here(ann=ALL)
    with pytest.raises(ClientError):
        here.client("ann", "hpfeeds").publish(spelling, b"{}")


def test_without_a_registry_nothing_is_reserved() -> None:
    """A broker that nobody has asked for the registry publishes there whatever it is given."""
    memory = MemoryBroker()
    ann = memory.client("nats", "ann")
    assert not memory.broker.has_registry
    ann.subscribe(b"registry.web")
    ann.publish(b"registry.web", b"x")
    assert _topics(ann) == [b"registry.web"]


def test_who_was_there_before() -> None:
    """A client that was there before the registry loses what it may no longer have."""
    memory = MemoryBroker(plugins={name: plugin for name, plugin in MemoryBroker().plugins.items() if name == "nats"})
    ann = memory.client("nats", "ann")
    ann.subscribe(b"registry.web")
    assert memory.broker.registry is not None
    with pytest.raises(ClientError, match="Permissions Violation for Subscription"):
        ann.messages()


def test_another_prefix() -> None:
    """Where the changes are told can be chosen, and rights to names do not depend on it."""
    plugins = {name: plugin for name, plugin in MemoryBroker().plugins.items() if name == "nats"}
    memory = MemoryBroker(
        users={"ann": "secret"}, grants={"ann": _grants(b"lan.services.*", read=("db",))}, plugins=plugins
    )
    memory.broker.registry_prefix = b"lan.services"
    registry = memory.broker.registry
    ann = memory.client("nats", "ann")
    ann.subscribe(b"lan.services.*")
    registry.write([Put("web", {})])
    ann.publish(b"registry.web", b"x")
    assert _topics(ann) == [b"lan.services.web"]


def test_the_right_to_answer_is_no_way_in() -> None:
    """Who may answer requests cannot be led to speak there by a request that wants its answer there."""
    answers = Grants({SUBSCRIBE: Access(patterns([b"svc"]))}, responses=Responses())
    here = Here(ann=ALL, bob=answers, eve=_grants(b"registry.>", b"other"))
    eve, bob = here.client("eve", "nats", b"registry.>", b"other"), here.client("bob", "nats", b"svc")
    ann = here.client("ann")
    for reply in (b"registry.web", b"other"):
        ann.peer.send(b"PUB svc %b 0\r\n\r\n" % reply)
        bob.publish(reply, b"forged")
    assert _topics(eve) == [b"other"]


def test_another_tenant_is_no_way_in() -> None:
    """What an import would carry there does not arrive."""
    here = Here(eve=_grants(b"registry.>", b"other"))
    eve = here.client("eve", "nats", b"registry.>", b"other")
    router, sender = here.memory.broker.realm.router(""), Spoken([])
    with here.memory.broker.turn:
        passed = [pass_on(Message(topic, b""), sender, router, ()) for topic in (b"registry.web", b"other")]
    assert passed == [False, True]
    assert _topics(eve) == [b"other"]


# -- asking -----------------------------------------------------------------------------------------------------------


def _ask(client: Any, token: bytes, reply: bytes = INBOX) -> Any:
    client.peer.send(b"PUB registry-get.%b %b 0\r\n\r\n" % (token, reply))
    found = client.messages()
    return json.loads(found[0].payload) if found else None


def test_a_request_reads_an_entry() -> None:
    """Who may read an entry gets it by a request, and word of one that is not there."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)))
    here.put("web.1")
    ann = here.client("ann", "nats", INBOX)
    answer = _ask(ann, b"web=2E1")
    assert answer["status"] == 200
    assert (answer["record"]["name"], answer["record"]["data"]) == ("web.1", {"port": 80})
    absent = _ask(ann, b"absent")
    assert (absent["status"], absent["title"], absent["name"]) == (404, "Not Found", "absent")


def test_a_request_is_answered_under_the_rights_of_who_asks() -> None:
    """Without the right, there is no telling whether the entry is there."""
    here = Here(ann=_grants(b"_INBOX.>", read=("web-*",)))
    here.put("db")
    ann = here.client("ann", "nats", INBOX)
    assert _ask(ann, b"db")["status"] == _ask(ann, b"absent")["status"] == 403
    assert _ask(ann, b"web-1")["status"] == 404


@pytest.mark.parametrize("token", [b"=", b"=2", b"=61", b"a=zz", b"=FF", b"a$"])
def test_a_request_for_what_is_no_name(token: bytes) -> None:
    """A token that is no name's is said to be one."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)))
    assert _ask(here.client("ann", "nats", INBOX), token)["status"] == 400


def test_the_right_to_read_is_enough_to_ask() -> None:
    """A user with no grant to publish at all may ask for what it may read, and for nothing else."""
    here = Here(ann=Grants({SUBSCRIBE: Access(patterns([b"_INBOX.>"])), READ: Access(rules(["web"]))}))
    here.put("web")
    ann = here.client("ann", "nats", INBOX)
    assert _ask(ann, b"web")["status"] == 200
    with pytest.raises(ClientError, match="Permissions Violation for Publish"):
        _ask(ann, b"db")


def test_hidden_names_cannot_be_asked_for() -> None:
    """What is the broker's own is not there for anybody."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)))
    here.put("_access_key")
    assert _ask(here.client("ann", "nats", INBOX), b"_access_key")["status"] == 404


def test_nobody_else_hears_a_question_or_an_answer() -> None:
    """Neither by subscribing to everything, nor to the inbox of another."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)), eve=_grants(b">", b"registry-get.>"))
    here.put("web")
    eve = here.client("eve", "nats", b">", INBOX)
    with pytest.raises(ClientError):
        eve.subscribe(b"registry-get.>")
    assert _ask(here.client("ann", "nats", INBOX), b"web")["status"] == 200
    assert _topics(eve) == []


def test_an_answer_goes_to_who_has_asked_only() -> None:
    """A request that names another's inbox, or a topic of the broker's own, brings nothing there."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)), bob=_grants(b"_INBOX.>", b"registry.>"))
    here.put("web")
    bob = here.client("bob", "nats", INBOX, b"registry.>")
    ann = here.client("ann")
    assert _ask(ann, b"web") is None
    assert _ask(ann, b"web", b"registry.web") is None
    assert _topics(bob) == []


def test_a_subscription_for_one_answer_ends_by_it() -> None:
    """The answer counts: a client that waits for one message has had it."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)))
    ann = here.client("ann")
    ann.peer.send(b"SUB _INBOX.1 9\r\nUNSUB 9 1\r\n")
    assert _ask(ann, b"web")["status"] == 404
    assert _ask(ann, b"web") is None


def test_a_question_without_a_place_for_the_answer() -> None:
    """It is heard, and that is all."""
    here = Here(ann=_grants(b"_INBOX.>", read=("*",)))
    ann = here.client("ann", "nats", INBOX)
    ann.publish(b"registry-get.web", b"")
    assert _topics(ann) == []
    assert here.memory.broker.questions is not None
    assert here.memory.broker.questions.answered == 0


def test_a_program_may_ask() -> None:
    """A client of the program that embeds the broker is answered as others are."""
    here = Here()
    here.put("web")
    local = here.local()
    heard: list[bytes] = []
    local.subscribe(INBOX, lambda batch: heard.extend(message.payload for message in batch))
    local.publish(b"registry-get.web", b"", reply=INBOX)
    assert json.loads(heard[0])["record"]["name"] == "web"
