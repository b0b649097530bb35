"""What ``acl explain`` says of a user is what the broker does for that user."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.entry import Entry
from brokerkit.checkers.env import EnvUsers
from brokerkit.checkers.json_file import JsonUsers
from brokerkit.checkers.kastlex import KastlexUsers
from brokerkit.checkers.listed import ListedUsers
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.checkers.own import OwnUsers
from brokerkit.checkers.source import Source
from brokerkit.checkers.sqlite import SqliteUsers
from brokerkit.client import Client, User
from brokerkit.config import Listen
from brokerkit.errors import ClientError, NotAllowed, OperatorError
from brokerkit.explain import Decision, ask, explain
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, Rule, literal, patterns
from brokerkit.notation import Name, Notations
from brokerkit.plugin import protocols
from brokerkit.realm import Mind
from brokerkit.stores.users import UserStore
from brokerkit.testing import MemoryBroker
from tests.checkers.at_once import AtOnce

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerkit.checkers.known import Known

BOB, SECRET = b"bob", "bob's secret"
PREFIX = "pot"

# -- the same user in every source --------------------------------------------------------------------------------

RIGHTS: dict[str, tuple[str, ...]] = {
    "publish": ("cowrie.>", "sensors.*.up"),
    "publish_deny": ("cowrie.secret", "*.*.down"),
    "subscribe": ("cowrie.>", "single"),
    "subscribe_deny": ("cowrie.secret.>",),
}
LISTS = {"pubchans": ["dionaea", "*", "a..b"], "subchans": ["dionaea", ">"]}
MORE = {"publish": ["logs.*"], "subscribe": ["logs.>"]}


def memory(_: Path) -> Source:
    """Give users that a program hands over, with literal names, patterns and denials of both kinds."""
    publish = Access(literal([b"dionaea", b"*"]) + patterns([b"cowrie.>"]), literal([b"cowrie.secret"]))
    subscribe = Access(patterns([b">"]), patterns([b"cowrie.secret.>"]) + literal([b"$SYS.x"]))
    return MemoryUsers({"bob": SECRET}, {"bob": Grants({PUBLISH: publish, SUBSCRIBE: subscribe})})


def env(_: Path) -> Source:
    """Give users of the environment."""
    lists = {key.upper(): ",".join(names) for key, names in {**LISTS, **MORE}.items()}
    return EnvUsers({"HPFEEDS_BOB_SECRET": SECRET} | {f"HPFEEDS_BOB_{key}": text for key, text in lists.items()})


def json_file(place: Path, prefix: bytes = b"") -> Source:
    """Give users of a users.json."""
    (place / "users.json").write_text(json.dumps({"bob": {"secret": SECRET, "owner": "", **LISTS, **MORE}}, indent=1))
    return JsonUsers(str(place / "users.json"), Clock(), prefix)


def prefixed(place: Path) -> Source:
    """Give users of a users.json whose names lie under a prefix."""
    return json_file(place, PREFIX.encode())


def sqlite(place: Path) -> Source:
    """Give users of hpfeeds' own table."""
    source = SqliteUsers(str(place / "sqlite.db"), Clock(), threads=AtOnce())  # type: ignore[arg-type]
    source.startService()
    with closing(sqlite3.connect(place / "sqlite.db")) as database, database:
        lists = (json.dumps(LISTS["pubchans"]), json.dumps(LISTS["subchans"]))
        row = ("", "bob", SECRET, *lists)
        database.execute("INSERT INTO authkeys (owner, ident, secret, pubchans, subchans) VALUES (?, ?, ?, ?, ?)", row)
    return source


def own(place: Path) -> Source:
    """Give users of brokerkit's store."""
    with UserStore.open(place / "users.sqlite", make=True) as store:
        store.add(Entry("bob", SECRET, **RIGHTS))  # type: ignore[arg-type]
    return OwnUsers(str(place / "users.sqlite"), Clock())


def listed(_: Path) -> Source:
    """Give users of the configuration."""
    return ListedUsers([Entry("bob", SECRET, place="broker.toml:3: users[0]", **RIGHTS)], "broker.toml")  # type: ignore[arg-type]


def kastlex(place: Path) -> Source:
    """Give users of KastleX."""
    pytest.importorskip("yaml")
    (place / "passwd.yml").write_text(
        'bob:\n  password_hash: "$2b$12$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9y"\n'
    )
    (place / "permissions.yml").write_text("bob:\n  produce:\n    - logs\n    - a.*\n  fetch: all\n  reload: true\n")
    return KastlexUsers(str(place / "passwd.yml"), str(place / "permissions.yml"), Clock())


def anyone(_: Path) -> Source:
    """Give everybody."""
    return Anyone()


def some(_: Path) -> Source:
    """Give everybody, with few rights."""
    return Anyone(Grants({PUBLISH: Access(patterns([b"open.>"])), SUBSCRIBE: Access(patterns([b"open.*"]))}))


SOURCES: dict[str, Callable[[Path], Source]] = {
    "anyone": anyone,
    "env": env,
    "json": json_file,
    "kastlex": kastlex,
    "listed": listed,
    "memory": memory,
    "own": own,
    "prefixed": prefixed,
    "some": some,
    "sqlite": sqlite,
}

# source, action, name, verdict, the rule that decides (a literal one in quotes, "-" for none)
TABLE = """
memory   publish   dionaea                 ALLOW 'dionaea'
memory   publish   hpfeeds:dionaea         ALLOW 'dionaea'
memory   publish   nats:dionaea            ALLOW 'dionaea'
memory   publish   kafka:dionaea/0         ALLOW 'dionaea'
memory   publish   hpfeeds:*               ALLOW '*'
memory   publish   nats:*                  DENY  -
memory   publish   cowrie.ssh              ALLOW cowrie.>
memory   publish   nats:cowrie.>           ALLOW cowrie.>
memory   publish   cowrie.secret           DENY  'cowrie.secret'
memory   publish   hpfeeds:cowrie.secret   DENY  'cowrie.secret'
memory   publish   kafka:cowrie.secret/7   DENY  'cowrie.secret'
memory   publish   nats:cowrie.*           ALLOW cowrie.>
memory   publish   cowrie                  DENY  -
memory   subscribe >                       ALLOW >
memory   subscribe nats:cowrie.>           ALLOW >
memory   subscribe nats:cowrie.secret.>    DENY  cowrie.secret.>
memory   subscribe nats:cowrie.secret.a    DENY  cowrie.secret.>
memory   subscribe hpfeeds:cowrie.secret.a DENY  cowrie.secret.>
memory   subscribe hpfeeds:>               ALLOW >
memory   subscribe nats:$SYS.x             DENY  '$SYS.x'
memory   subscribe nats:$SYS.*             ALLOW >
env      publish   hpfeeds:dionaea         ALLOW 'dionaea'
env      publish   nats:dionaea            ALLOW 'dionaea'
env      publish   hpfeeds:*               ALLOW '*'
env      publish   hpfeeds:x               DENY  -
env      publish   hpfeeds:a..b            ALLOW 'a..b'
env      publish   logs.a                  ALLOW logs.*
env      publish   kafka:logs.a            ALLOW logs.*
env      publish   logs.a.b                DENY  -
env      subscribe nats:logs.>             ALLOW logs.>
env      subscribe nats:logs.*             ALLOW logs.>
env      subscribe hpfeeds:logs.x          ALLOW logs.>
env      subscribe nats:>                  DENY  -
env      subscribe hpfeeds:>               ALLOW '>'
json     publish   hpfeeds:dionaea         ALLOW 'dionaea'
json     publish   kafka:dionaea/3         ALLOW 'dionaea'
json     publish   hpfeeds:*               ALLOW '*'
json     publish   nats:*                  DENY  -
json     publish   nats:logs.*             ALLOW logs.*
json     publish   nats:logs.>             DENY  -
json     subscribe hpfeeds:dionaea         ALLOW 'dionaea'
json     subscribe nats:dionaea            ALLOW 'dionaea'
json     subscribe nats:*                  DENY  -
json     subscribe hpfeeds:>               ALLOW '>'
json     subscribe nats:logs.a.>           ALLOW logs.>
json     subscribe logs                    DENY  -
prefixed publish   hpfeeds:dionaea         ALLOW 'pot.dionaea'
prefixed publish   nats:pot.dionaea        ALLOW 'pot.dionaea'
prefixed publish   nats:dionaea            DENY  -
prefixed publish   kafka:pot.logs.a/0      ALLOW pot.logs.*
prefixed publish   hpfeeds:logs.a          ALLOW pot.logs.*
prefixed subscribe hpfeeds:>               ALLOW 'pot.>'
prefixed subscribe nats:pot.>              DENY  -
prefixed subscribe nats:pot.logs.>         ALLOW pot.logs.>
sqlite   publish   hpfeeds:dionaea         ALLOW 'dionaea'
sqlite   publish   nats:dionaea            ALLOW 'dionaea'
sqlite   publish   kafka:dionaea           ALLOW 'dionaea'
sqlite   publish   hpfeeds:*               ALLOW '*'
sqlite   publish   nats:*                  DENY  -
sqlite   subscribe hpfeeds:>               ALLOW '>'
sqlite   subscribe nats:>                  DENY  -
sqlite   subscribe hpfeeds:other           DENY  -
own      publish   hpfeeds:cowrie.ssh      ALLOW cowrie.>
own      publish   nats:cowrie.ssh         ALLOW cowrie.>
own      publish   nats:cowrie.secret      DENY  cowrie.secret
own      publish   nats:cowrie.a.down      DENY  *.*.down
own      publish   nats:cowrie.*.down      DENY  *.*.down
own      publish   nats:sensors.*.up       ALLOW sensors.*.up
own      publish   kafka:sensors.a.up/1    ALLOW sensors.*.up
own      subscribe nats:cowrie.>           ALLOW cowrie.>
own      subscribe nats:cowrie.secret.a    DENY  cowrie.secret.>
own      subscribe hpfeeds:single          ALLOW single
own      subscribe nats:*                  DENY  -
listed   publish   hpfeeds:cowrie.ssh      ALLOW cowrie.>
listed   publish   nats:cowrie.secret      DENY  cowrie.secret
listed   publish   sensors.x.up            ALLOW sensors.*.up
listed   subscribe nats:cowrie.secret.>    DENY  cowrie.secret.>
listed   subscribe nats:cowrie.*           ALLOW cowrie.>
listed   subscribe kafka:cowrie.secret.b/0 DENY  cowrie.secret.>
anyone   publish   hpfeeds:anything        ALLOW >
anyone   publish   nats:a.b.c              ALLOW >
anyone   publish   hpfeeds:a..b            ALLOW >
anyone   subscribe nats:>                  ALLOW >
anyone   subscribe kafka:x/0               ALLOW >
some     publish   hpfeeds:open.a          ALLOW open.>
some     publish   hpfeeds:closed          DENY  -
some     subscribe nats:open.*             ALLOW open.*
some     subscribe nats:open.>             DENY  -
kastlex  publish   kafka:logs/0            ALLOW 'logs'
kastlex  publish   nats:logs               ALLOW 'logs'
kastlex  publish   hpfeeds:a.*             ALLOW 'a.*'
kastlex  publish   nats:a.*                DENY  -
kastlex  publish   kafka:other/0           DENY  -
kastlex  subscribe nats:a.>                ALLOW >
kastlex  subscribe kafka:logs/0            ALLOW >
kastlex  produce   kafka:logs/0            ALLOW 'logs'
kastlex  fetch     kafka:other/0           ALLOW >
kastlex  show_topic kafka:logs             DENY  -
env      produce   kafka:logs.a/0          DENY  -
own      fetch     kafka:single/0          DENY  -
"""
CASES = [tuple(line.split()) for line in TABLE.split("\n") if line]
NOTATIONS = Notations(protocols(), [Listen("hpfeeds", "", PREFIX), Listen("nats", "")])
PLAIN = Notations(protocols())


def answered(what: Any) -> Any:
    """Give the result of a coroutine that does not have to wait."""
    results: list[Any] = []
    Deferred.fromCoroutine(what).addBoth(results.append)
    assert results, "it waits"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def decide(sources: list[Any], action: str, name: Name, user: bytes = BOB, now: float = 0.0) -> Decision:
    """Ask and explain."""
    return explain(answered(ask(sources, user, Clock())), user, action, name, now)


def shown(rule: Rule | None) -> str:
    """Give a rule as the table has it."""
    if rule is None:
        return "-"
    return f"'{rule.name.decode()}'" if rule.literal else rule.name.decode()


def samples(name: Name) -> list[bytes]:
    """Give some topics that a name stands for."""
    if name.literal:
        return [name.topic]
    one = name.topic.replace(b"*", b"q")
    return [one[:-1] + end for end in (b"q", b"q.q", b"q.down")] if one.endswith(b">") else [one]


class World:
    """A broker with one source, and bob in it."""

    def __init__(self, source: Source, name: str) -> None:
        """Start it."""
        settings = {"hpfeeds": {"topic_prefix": PREFIX}} if name == "prefixed" else {}
        self.memory = MemoryBroker(users={}, sources=[source], settings=settings)
        self.memory.users["bob"] = SECRET
        self.source = source
        self.heard: list[bytes] = []
        self.spy = self.memory.local()

    def stop(self) -> None:
        """End it."""
        Deferred.fromCoroutine(self.memory.broker.stop())
        self.memory.advance()

    def bob(self) -> Client:
        """Give bob: by a login, or where that needs threads, by what the source says of him."""
        broker = self.memory.broker
        if isinstance(self.source, KastlexUsers):
            user = self.source.users([BOB])[BOB].user
            return Client(user, broker.realm.router(""), broker.turn)
        logins: list[Client] = []
        broker.login(UsernamePassword(BOB, SECRET.encode()), Mind()).addCallback(logins.append)
        return logins[0]

    def lets(self, action: str, name: Name) -> bool:
        """Say whether bob can do this, from inside."""
        bob = self.bob()
        if action not in {PUBLISH, SUBSCRIBE}:
            return bob.user.grants.permits(action, name.topic, literal=name.literal)
        try:
            if action == SUBSCRIBE:
                bob.subscribe(name.topic, lambda _: None, literal=name.literal)
        except NotAllowed:
            return False
        return action == SUBSCRIBE or all(self._publishes(bob, topic) for topic in samples(name))

    def _publishes(self, bob: Client, topic: bytes) -> bool:
        with suppress(NotAllowed):
            bob.publish(topic, b"")
            return True
        return False

    def lets_over_the_wire(self, protocol: str, action: str, name: bytes) -> bool:
        """Say whether bob can do this in a protocol."""
        client = self.memory.client(protocol, "bob")
        before = self.memory.broker.realm.router("").subscriptions
        with suppress(ClientError):
            if action == SUBSCRIBE:
                client.subscribe(name)
            else:
                client.publish(name, b"")
        counts = self.memory.broker.listener(protocol).counts
        if action == SUBSCRIBE:
            return self.memory.broker.realm.router("").subscriptions > before
        return counts.messages_in > counts.errors["not-allowed"]


def test_the_table_is_large() -> None:
    """All sources, actions and notations are in it."""
    assert len(CASES) >= 60
    assert {case[0] for case in CASES} == set(SOURCES)
    assert {case[2].partition(":")[0] for case in CASES} >= {"hpfeeds", "nats", "kafka", "dionaea"}


@pytest.mark.parametrize(("source", "action", "text", "verdict", "rule"), CASES, ids=[" ".join(x[:3]) for x in CASES])
def test_what_is_explained_is_what_happens(
    tmp_path: Path, source: str, action: str, text: str, verdict: str, rule: str
) -> None:
    """The verdict, and the rule that is named for it; and the broker does so, from inside and over the wire."""
    made = SOURCES[source](tmp_path)
    name = (NOTATIONS if source == "prefixed" else PLAIN).read(text)
    world = World(made, source)
    try:
        decision = decide([made], action, name)
        assert (decision.verdict, shown(decision.rule)) == (verdict, rule)
        assert bool(decision.remedies) is (verdict == "DENY")
        assert decision.where
        assert world.lets(action, name) is decision.allowed
        protocol, _, rest = text.partition(":")
        by_wire = protocol in {"hpfeeds", "nats"} and source != "kastlex"  # whose hashes are checked in threads
        if by_wire and (action == SUBSCRIBE or name.literal):
            assert world.lets_over_the_wire(protocol, action, rest.encode()) is decision.allowed
    finally:
        world.stop()


# -- several sources ----------------------------------------------------------------------------------------------

TOPIC = Name(b"dionaea", literal=True)


class Down(Source):
    """A source that cannot be asked."""

    source = "database+postgresql://db/users"

    def find(self, credentials: Any) -> Any:  # noqa: ARG002
        """Fail."""
        return fail(OperatorError("the server has gone away"))


class Silent(Down):
    """A source that does not answer."""

    def find(self, credentials: Any) -> Any:  # noqa: ARG002
        """Say nothing."""
        return Deferred()


def test_the_first_source_that_knows_decides() -> None:
    """Sources before it are named, and one behind it that has the name too is said to be shadowed."""
    first, second, third = MemoryUsers({"ann": "x"}), Anyone(Grants()), MemoryUsers({"bob": "x"})
    decision = decide([first, second, third], PUBLISH, TOPIC)
    assert (decision.verdict, decision.source) == ("DENY", "anonymous")
    assert decision.notes == ("memory does not know the user", "memory has a user of this name too, who is shadowed")


def test_nobody_knows_the_user() -> None:
    """The steps then lead to brokerkit's own store, if it is there, and else to the first source."""
    decision = decide([MemoryUsers({"ann": "x"})], PUBLISH, TOPIC)
    assert (decision.verdict, decision.text) == ("DENY", "no source of users knows 'bob'")
    assert decision.remedies == ("add a user 'bob' to memory, who may publish 'dionaea'",)


def test_nobody_in_the_own_store(tmp_path: Path) -> None:
    """The command adds the user with the right, quoted for the shell."""
    decision = decide([MemoryUsers({}), own(tmp_path)], SUBSCRIBE, PLAIN.read("a.>"), b"eve l")
    command = f"brokerkit user add 'eve l' --subscribe 'a.>' --users {tmp_path}/users.sqlite"
    assert decision.remedies == (command,)


def test_a_source_that_is_down_decides_nothing() -> None:
    """As for a login, no later source is asked; what would decide is not known."""
    decision = decide([Down(), MemoryUsers({"bob": "x"})], PUBLISH, TOPIC)
    assert (decision.verdict, decision.allowed) == ("UNKNOWN", False)
    assert "the server has gone away" in decision.text


def test_a_later_source_that_is_down_is_said() -> None:
    """It takes nothing from the decision."""
    decision = decide([MemoryUsers({"bob": "x"}), Down()], PUBLISH, TOPIC)
    assert decision.allowed
    assert "cannot be asked: the server has gone away" in decision.notes[0]


def test_a_source_that_does_not_answer() -> None:
    """It is given up in time."""
    clock = Clock()
    answers: list[Any] = []
    Deferred.fromCoroutine(ask([Silent()], BOB, clock, 3.0)).addCallback(answers.extend)
    clock.advance(2.9)
    assert not answers
    clock.advance(0.2)
    assert explain(answers, BOB, PUBLISH, TOPIC, 0.0).text.endswith("no answer within 3.0 s")


def test_a_record_that_makes_no_sense(tmp_path: Path) -> None:
    """Its user cannot log in, so it may do nothing, and no later source is asked."""
    source = sqlite(tmp_path)
    with closing(sqlite3.connect(tmp_path / "sqlite.db")) as database, database:
        database.execute("UPDATE authkeys SET pubchans = '{'")
    decision = decide([source, Anyone()], PUBLISH, TOPIC)
    assert decision.verdict == "DENY"
    assert "pubchans" in decision.text
    assert SECRET not in str(decision)


def test_a_foreign_checker() -> None:
    """Nothing can be said of what another program's checker knows, and that is said."""
    decision = decide([InMemoryUsernamePasswordDatabaseDontUse(), MemoryUsers({"bob": "x"})], PUBLISH, TOPIC)
    assert decision.allowed
    assert "does not say whom it knows" in decision.notes[0]


@pytest.mark.parametrize(("now", "verdict"), [(999.0, "ALLOW"), (1000.0, "DENY")])
def test_a_user_whose_time_is_over(now: float, verdict: str) -> None:
    """Whatever its rules say, it may do nothing."""

    class Bounded(MemoryUsers):
        def find(self, credentials: Any) -> Known | None:
            known = super().find(credentials)
            return known and attrs.evolve(known, user=attrs.evolve(known.user, valid_until=1000.0))

    decision = decide([Bounded({"bob": "x"})], PUBLISH, TOPIC, now=now)
    assert decision.verdict == verdict
    assert ("valid until 1970-01-01T00:16:40" in decision.text) is (verdict == "DENY")


def test_a_user_who_only_has_a_token() -> None:
    """Who cannot log in with a password is found too."""
    source = EnvUsers({"HPFEEDS_BOB_TOKEN": "t", "HPFEEDS_BOB_PUBCHANS": "dionaea"})
    assert decide([source], PUBLISH, TOPIC).allowed


# -- what is said beside the verdict ------------------------------------------------------------------------------


def test_wider_than_a_denial(tmp_path: Path) -> None:
    """A subscription that reaches into a denial is allowed, and what is left out is said."""
    decision = decide([own(tmp_path)], SUBSCRIBE, PLAIN.read("cowrie.>"))
    assert decision.allowed
    assert decision.notes == ("what the pattern 'cowrie.secret.>' matches is left out",)


def test_denial_wins(tmp_path: Path) -> None:
    """The rule that would have allowed it is named beside the one that denies it."""
    decision = decide([own(tmp_path)], PUBLISH, PLAIN.read("cowrie.secret"))
    assert decision.text == "the pattern 'cowrie.secret' denies it"
    assert decision.notes == ("the pattern 'cowrie.>' would allow it, but a denial wins",)


@pytest.mark.parametrize(
    ("name", "wide"),
    [
        ("hpfeeds:>", "everything"),
        ("hpfeeds:a..b", "everything"),
        ("hpfeeds:honeypot.*", "all that 'honeypot.*' matches"),
        ("hpfeeds:x", ""),
        ("nats:x.*", ""),
    ],
)
def test_a_remedy_that_allows_more_is_said_to(tmp_path: Path, name: str, wide: str) -> None:
    """A peer chooses its channel's name: whoever copies the command that allows it is told what else it allows."""
    with UserStore.open(tmp_path / "users.sqlite", make=True, first=[Entry("bob", secret="x", publish=("y",))]):
        pass
    sources = [OwnUsers(str(tmp_path / "users.sqlite"), Clock())]
    expected = [f"users:{tmp_path}/users.sqlite has patterns only: what allows this literal name there allows {wide}"]
    asked = Notations(protocols()).read(name)
    for user in (b"bob", b"nobody"):
        notes = [note for note in decide(sources, PUBLISH, asked, user).notes if "literal name there" in note]
        assert notes == (expected if wide else [])


def test_the_tenant_is_said() -> None:
    """Topics of one tenant are not those of another."""

    class Rented(MemoryUsers):
        def _user(self, name: str, grants: Any) -> User:
            return attrs.evolve(super()._user(name, grants), tenant="red")

    assert "tenant 'red'" in decide([Rented({"bob": "x"})], PUBLISH, TOPIC).notes[0]


@pytest.mark.parametrize(
    ("source", "action", "text", "steps"),
    [
        ("memory", "publish", "x", ["allow 'bob' to publish 'x' in memory"]),
        ("memory", "publish", "cowrie.secret", ["take the denial 'cowrie.secret' of publish from 'bob' in memory"]),
        ("json", "publish", "hpfeeds:x", ['add "x" to \'pubchans\' of "bob" in PLACE/users.json']),
        ("json", "subscribe", "nats:x.>", ['add "x.>" to \'subscribe\' of "bob" in PLACE/users.json']),
        ("prefixed", "publish", "hpfeeds:x", ['add "x" to \'pubchans\' of "bob" in PLACE/users.json']),
        (
            "prefixed",
            "publish",
            "nats:x",
            ["nothing in json:PLACE/users.json can allow it: all names there lie under pot"],
        ),
        (
            "env",
            "publish",
            "hpfeeds:x",
            ["export HPFEEDS_BOB_PUBCHANS='dionaea,*,a..b,x'   # and start the broker again"],
        ),
        ("env", "publish", "nats:x.>", ["export HPFEEDS_BOB_PUBLISH='logs.*,x.>'   # and start the broker again"]),
        ("own", "publish", "nats:x", ["brokerkit user allow bob publish x --users PLACE/users.sqlite"]),
        ("own", "publish", "hpfeeds:a..b", ["brokerkit user allow bob publish '>' --users PLACE/users.sqlite"]),
        (
            "own",
            "publish",
            "x.y.down",
            [
                "brokerkit user deny bob publish '*.*.down' --undo --users PLACE/users.sqlite",
                "brokerkit user allow bob publish x.y.down --users PLACE/users.sqlite",
            ],
        ),
        ("listed", "subscribe", "x", ['add "x" to \'subscribe\' of the user "bob" in broker.toml']),
        (
            "sqlite",
            "publish",
            "it's",
            ['UPDATE authkeys SET pubchans = \'["dionaea", "*", "a..b", "it\'\'s"]\' WHERE ident = \'bob\';'],
        ),
        (
            "sqlite",
            "subscribe",
            "x.>",
            [
                (
                    "sqlite:PLACE/sqlite.db has literal names only, which no pattern is within; "
                    "keep the user in another source"
                )
            ],
        ),
        (
            "kastlex",
            "publish",
            "kafka:other/0",
            ['add "other" to \'produce\' of "bob" in the permissions file of kastlex:PLACE/passwd.yml'],
        ),
        ("some", "publish", "x", ["add 'x' to the patterns that the source anonymous has for publish"]),
    ],
)
def test_what_would_allow_it(tmp_path: Path, source: str, action: str, text: str, steps: list[str]) -> None:
    """Each source has its own way."""
    name = (NOTATIONS if source == "prefixed" else PLAIN).read(text)
    decision = decide([SOURCES[source](tmp_path)], action, name)
    assert [step.replace(str(tmp_path), "PLACE") for step in decision.remedies] == steps


def test_the_statement_allows_it(tmp_path: Path) -> None:
    """The UPDATE for a table does what it is for."""
    source = sqlite(tmp_path)
    name = PLAIN.read("it's")
    with closing(sqlite3.connect(tmp_path / "sqlite.db")) as database, database:
        database.executescript(decide([source], PUBLISH, name).remedies[0])
    source._answers.clear()  # type: ignore[attr-defined]
    assert decide([source], PUBLISH, name).allowed
    assert decide([source], PUBLISH, TOPIC).allowed
