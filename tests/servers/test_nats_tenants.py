"""Tenants as nats-server's accounts: the same exports, imports and mappings in both, the same bytes, the same answers.

A scene is played once with each.  What is made up anew each time (reply topics, round trips) is made alike; of frames
that come at the same time, the order does not matter.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.servers import nats
from tests.servers.programs import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 10.0

CONF = """
host: "127.0.0.1", port: -1
accounts {
  A {
    users [ {user: a, password: pw},
            {user: narrow, password: pw, permissions: {publish: ["m.orig"], subscribe: ">"}},
            {user: there, password: pw, permissions: {publish: ["m.new"], subscribe: ">"}} ]
    exports [ {stream: "pub.>"}, {service: "svc.*"}, {stream: "priv.>", accounts: [B]},
              {service: "multi", response: stream}, {stream: "cc.>"}, {service: "deep.>"} ]
    imports [ {stream: {account: C, subject: "cc.>"}},
              {service: {account: C, subject: "deep"}, to: "deep.c"} ]
    mappings { "m.orig": "m.new", "r.*": "rr.$1", "rr.*": "rrr.$1", "svc.mapped": "svc.real",
               "gone": [{destination: "gone", weight: 0}], "zero": [{destination: "never", weight: 0}] }
  }
  B {
    users [ {user: b, password: pw} ]
    imports [ {stream: {account: A, subject: "pub.>"}, prefix: "fromA"},
              {stream: {account: A, subject: "priv.*.*"}, to: "pv.$2.$1"},
              {service: {account: A, subject: "svc.*"}, to: "ask.*"},
              {service: {account: A, subject: "deep.c"}},
              {service: {account: A, subject: "multi"}} ]
    mappings { "asked.*": "ask.$1" }
  }
  C { users [ {user: c, password: pw} ], exports [ {stream: "cc.>"}, {service: "deep"} ] }
  D { users [ {user: d, password: pw} ], imports [ {stream: {account: A, subject: "pub.>"}},
                                                   {stream: {account: A, subject: "cc.>"}} ] }
  F { users [ {user: f, password: pw} ], mappings { MAPPINGS } }
}
"""

TOML = """
users = [
  {name = "a", secret = "pw", tenant = "A", publish = [">"], subscribe = [">"]},
  {name = "narrow", secret = "pw", tenant = "A", publish = ["m.orig"], subscribe = [">"]},
  {name = "there", secret = "pw", tenant = "A", publish = ["m.new"], subscribe = [">"]},
  {name = "b", secret = "pw", tenant = "B", publish = [">"], subscribe = [">"]},
  {name = "c", secret = "pw", tenant = "C", publish = [">"], subscribe = [">"]},
  {name = "d", secret = "pw", tenant = "D", publish = [">"], subscribe = [">"]},
  {name = "f", secret = "pw", tenant = "F", publish = [">"], subscribe = [">"]},
]

[[tenant]]
name = "A"
exports = [
  {stream = "pub.>"}, {service = "svc.*"}, {stream = "priv.>", tenants = ["B"]},
  {service = "multi", response = "stream"}, {stream = "cc.>"}, {service = "deep.>"},
]
imports = [{stream = "cc.>", from = "C"}, {service = "deep", from = "C", to = "deep.c"}]
[tenant.mappings]
"m.orig" = "m.new"
"r.*" = "rr.$1"
"rr.*" = "rrr.$1"
"svc.mapped" = "svc.real"
"gone" = [{to = "gone", weight = 0}]
"zero" = [{to = "never", weight = 0}]

[[tenant]]
name = "B"
imports = [
  {stream = "pub.>", from = "A", prefix = "fromA"},
  {stream = "priv.*.*", from = "A", to = "pv.$2.$1"},
  {service = "svc.*", from = "A", to = "ask.*"},
  {service = "deep.c", from = "A"},
  {service = "multi", from = "A"},
]
[tenant.mappings]
"asked.*" = "ask.$1"

[[tenant]]
name = "C"
exports = [{stream = "cc.>"}, {service = "deep"}]

[[tenant]]
name = "D"
imports = [{stream = "pub.>", from = "A"}, {stream = "cc.>", from = "A"}]

[[tenant]]
name = "F"
[tenant.mappings]
MAPPINGS

[[listen]]
protocol = "nats"
endpoint = "tcp:port=0:interface=127.0.0.1"
"""

# Functions of mappings: a pattern, where it leads, and topics that fit.
FUNCTIONS = [
    ("dollar.*.*", "x.$2.$1", ["dollar.a.b"]),
    ("wild.*.*", "x.{{wildcard(2)}}.{{ Wildcard(1) }}", ["wild.a.b"]),
    ("rest.*.>", "x.$1.>", ["rest.a.b.c"]),
    ("part.*.*", "x.{{partition(10,1,2)}}", [f"part.{a}.{b}" for a in ("a", "sensor", "é") for b in ("0", "xyz")]),
    ("one.*", "x.{{partition(3,1)}}.$1", [f"one.{i}" for i in range(12)]),
    ("whole.*", "x.{{partition(7)}}", [f"whole.{i}" for i in range(8)]),
    ("none.*", "x.{{partition(0,1)}}", ["none.a"]),
    ("split.*", "x.{{split(1,-)}}", ["split.a-b-c", "split.abc", "split.-a", "split.a-", "split.a--b"]),
    ("sfl.*", "x.{{splitFromLeft(1,2)}}", ["sfl.abcd", "sfl.ab", "sfl.a", "sfl.abc"]),
    ("sfr.*", "x.{{SplitFromRight(1,2)}}", ["sfr.abcd", "sfr.ab", "sfr.a", "sfr.abc"]),
    ("sll.*", "x.{{sliceFromLeft(1,3)}}", ["sll.abcdefgh", "sll.abcdef", "sll.abc", "sll.ab", "sll.abcd"]),
    ("slr.*", "x.{{SliceFromRight(1,3)}}", ["slr.abcdefgh", "slr.abcdef", "slr.abc", "slr.ab", "slr.abcd"]),
    ("left.*", "x.{{left(1,2)}}", ["left.abc", "left.ab", "left.a"]),
    ("right.*", "x.{{right(1,2)}}", ["right.abc", "right.ab", "right.a"]),
    ("rand.*", "x.{{random(1)}}.$1", ["rand.a"]),
    ("same.*", "same.$1", ["same.a"]),
    ("lit", "x.lit", ["lit"]),
]

_REPLY = re.compile(rb"_R_\.\w{6}\.\w{6}")
_TRIP = re.compile(rb',"rtt":\d+')


class Line:
    """A connection of one user."""

    def __init__(self, port: int, user: str, **options: object) -> None:
        """Log in."""
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._said = b""
        hello = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 0}
        connect = json.dumps({**hello, "user": user, "pass": "pw", **options})
        self._socket.sendall(b"CONNECT " + connect.encode() + b"\r\n")
        self.say()

    def say(self, *said: bytes) -> list[bytes]:
        """Say lines, and give the frames that have come until they were dealt with, sorted."""
        self._socket.sendall(b"".join(line + b"\r\n" for line in (*said, b"PING")))
        heard = []
        while (frame := self._frame()) != b"PONG\r\n":
            if frame != b"PING\r\n" and not frame.startswith(b"INFO"):
                heard.append(frame)
        return sorted(heard)

    hear = say

    def _frame(self) -> bytes:
        """Give the next line, with its payload if it has one."""
        while b"\r\n" not in self._said:
            self._read()
        end = self._said.index(b"\r\n") + 2
        line = self._said[:end]
        if line.startswith((b"MSG ", b"HMSG ")):
            end += int(line.split()[-1]) + 2
            while len(self._said) < end:
                self._read()
        frame, self._said = self._said[:end], self._said[end:]
        return frame

    def _read(self) -> None:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise EOFError(self._said)
        self._said += chunk

    def leave(self) -> None:
        """Hang up."""
        self._socket.close()


class Stage:
    """Where a scene is played."""

    def __init__(self, port: int) -> None:
        """Take the port of a server."""
        self._port = port
        self._lines: list[Line] = []

    def user(self, name: str, *said: bytes, **options: object) -> Line:
        """Give a connection of a user, who says this first."""
        line = Line(self._port, name, **options)
        self._lines.append(line)
        line.say(*said)
        return line

    def leave(self) -> None:
        """Hang up all."""
        for line in self._lines:
            line.leave()


def _alike(heard: list[bytes]) -> list[bytes]:
    """Make what was made up the same."""
    return [_size(_TRIP.sub(b"", _REPLY.sub(b"_R_.1.1", frame))) for frame in heard]


def _size(frame: bytes) -> bytes:
    """Leave the sizes of headers out where a round trip stands in them."""
    if b"Nats-Request-Info" not in frame:
        return frame
    line, end, rest = frame.partition(b"\r\n")
    return b" ".join(line.split()[:-2]) + end + rest


def _reply(heard: list[bytes]) -> bytes:
    """Give the reply topic of a request that was heard."""
    [reply] = {found[0] for frame in heard if (found := _REPLY.search(frame))}
    return reply


def _publish(topic: bytes, payload: bytes = b"x", reply: bytes = b"") -> bytes:
    return b"PUB %b %b %d\r\n%b" % (topic, reply, len(payload), payload)


def _headed(topic: bytes, line: bytes, payload: bytes = b"x", reply: bytes = b"") -> bytes:
    headers = b"NATS/1.0\r\n" + line + b"\r\n\r\n"
    total = len(headers) + len(payload)
    return b"HPUB %b %b %d %d\r\n%b%b" % (topic, reply, len(headers), total, headers, payload)


Heard = list[list[bytes]]


# -- scenes -----------------------------------------------------------------------------------------------------------


def mapped(stage: Stage) -> Heard:
    """Show that a mapping leads once; the right is asked where it leads; what is lost is lost."""
    hears = stage.user("a", b"SUB > 1")
    a = stage.user("a", b"SUB i.* 1")
    narrow, there = stage.user("narrow"), stage.user("there")
    heard = [narrow.say(_publish(b"m.orig")), there.say(_publish(b"m.orig")), hears.hear()]
    for topic in (b"r.1", b"rr.2", b"rrr.3", b"gone", b"zero", b"m.new"):
        heard += [a.say(_publish(topic, reply=b"rep")), hears.hear()]
    return heard


def mapped_and_headed(stage: Stage) -> Heard:
    """Show that headers and reply go along, several messages in one go as well, and to those who have no headers."""
    hears, bare = stage.user("a", b"SUB rr.* 1"), stage.user("a", b"SUB rr.* 2", headers=False, no_responders=False)
    a = stage.user("a")
    lines = [_headed(b"r.1", b"Bar: Baz", b"%d" % i, b"rep") for i in range(5)]
    return [
        a.say(*lines),
        hears.hear(),
        bare.hear(),
        a.say(*[_publish(b"r.1", b"%d" % i) for i in range(5)]),
        hears.hear(),
    ]


def unheard_after_mapping(stage: Stage) -> Heard:
    """Show that a 503 names the subject that the mapping has made."""
    a = stage.user("a", b"SUB i.* 1")
    return [a.say(_publish(b"r.1", reply=b"i.1")), a.say(_publish(b"r.2", reply=b"i.1"))]


def no_echo_after_mapping(stage: Stage) -> Heard:
    """Show that who wants no echo gets none by way of a mapping either."""
    a = stage.user("a", b"SUB rr.1 1", echo=False)
    return [a.say(_publish(b"r.1"), _publish(b"rr.1"), _publish(b"r.1", reply=b"i.1"))]


def streams(stage: Stage) -> Heard:
    """Show that what is imported arrives under the prefix or as `to` says, with reply and headers."""
    b, d, a = (
        stage.user("b", b"SUB fromA.> 1", b"SUB > 2", b"SUB pv.*.x 3"),
        stage.user("d", b"SUB > 1"),
        stage.user("a"),
    )
    heard = []
    for line in (
        _publish(b"pub.z", reply=b"rep"),
        _headed(b"pub.z", b"Bar: Baz"),
        _publish(b"priv.x.y"),
        _publish(b"priv.x"),
        _publish(b"other"),
        _publish(b"pub"),
    ):
        heard += [a.say(line), b.hear(), d.hear()]
    return heard


def narrow_streams(stage: Stage) -> Heard:
    """Show that a subscription that is narrower than the import, or lies across it, gets what both stand for."""
    wishes = [b"SUB fromA.pub.one 1", b"SUB fromA.*.two 2", b"SUB *.*.three.> 3", b"SUB fromA.pub.* 4", b"SUB pv.a.* 5"]
    b, a = stage.user("b", *wishes), stage.user("a")
    heard = []
    for topic in (b"pub.one", b"pub.two", b"pub.three", b"pub.three.x", b"pub.two.x", b"priv.b.a", b"priv.a.b"):
        heard += [a.say(_publish(topic)), b.hear()]
    b.say(b"UNSUB 4")
    return [*heard, a.say(_publish(b"pub.one")), b.hear()]


def streams_go_one_step(stage: Stage) -> Heard:
    """Show that what a tenant has imported it does not export on."""
    a, d, c = stage.user("a", b"SUB > 1"), stage.user("d", b"SUB > 1"), stage.user("c")
    return [c.say(_publish(b"cc.1")), a.hear(), d.hear(), a.say(_publish(b"cc.2")), a.hear(), d.hear(), c.hear()]


def importing_is_no_publishing(stage: Stage) -> Heard:
    """Show that the importer publishes under the names of an import to itself alone."""
    a, b = stage.user("a", b"SUB > 1"), stage.user("b", b"SUB > 1")
    return [b.say(_publish(b"fromA.pub.x"), _publish(b"pub.x")), a.hear()]


def private_streams(stage: Stage) -> Heard:
    """Show that a 503 is not sent where somebody hears by way of an import alone."""
    d, a = stage.user("d", b"SUB pub.only 1"), stage.user("a", b"SUB i.* 1")
    heard = [a.say(_publish(b"pub.only", reply=b"i.1")), d.hear()]
    d.say(b"UNSUB 1")
    return [*heard, a.say(_publish(b"pub.only", reply=b"i.1"))]


def services(stage: Stage) -> Heard:
    """Show that a request is answered across tenants: once, with what it carried, and a header that says who asks."""
    a, b, hears = stage.user("a", b"SUB svc.* 1"), stage.user("b", b"SUB i.* 1"), stage.user("a", b"SUB _R_.> 1")
    heard = [b.say(_publish(b"ask.1", b"rq", b"i.1"))]
    request = a.hear()
    reply = _reply(request)
    heard += [request, a.say(_publish(reply, b"ok")), hears.hear(), b.hear()]
    heard += [a.say(_publish(reply, b"again")), b.hear()]
    for line in (
        _headed(b"ask.1", b"Bar: Baz", reply=b"i.2"),
        _headed(b"ask.1", b'Nats-Request-Info: {"acc":"root"}', reply=b"i.2"),
        _publish(b"ask.1"),
        _publish(b"asked.7", reply=b"i.2"),
        _publish(b"ask.mapped", reply=b"i.2"),
        _publish(b"ask.1.2", reply=b"i.2"),
    ):
        heard += [b.say(line), a.hear()]
    return heard


def answers_to_answers(stage: Stage) -> Heard:
    """Show that an answer may want an answer, which finds its way as well."""
    a, b = stage.user("a", b"SUB svc.* 1", b"SUB back 2"), stage.user("b", b"SUB i.* 1")
    b.say(_publish(b"ask.1", b"rq", b"i.1"))
    a.say(_headed(_reply(a.hear()), b"Bar: Baz", b"and you?", b"back"))
    answer = b.hear()
    return [answer, b.say(_publish(_reply(answer), b"fine")), a.hear()]


def many_answers(stage: Stage) -> Heard:
    """Show that a service with a stream of answers gets them all through, until an empty one."""
    a, b = stage.user("a", b"SUB multi 1"), stage.user("b", b"SUB i.* 1")
    b.say(_publish(b"multi", b"rq", b"i.1"))
    reply = _reply(a.hear())
    heard = []
    for payload in (b"1", b"2", b"3", b"", b"4"):
        heard += [a.say(_publish(reply, payload)), b.hear()]
    return heard


def nobody_serves(stage: Stage) -> Heard:
    """Show that who asks a service that nobody serves is told so, under the subject that was asked."""
    b = stage.user("b", b"SUB i.* 1")
    return [b.say(_publish(b"ask.1", reply=b"i.1")), b.say(_publish(b"deep.c", reply=b"i.1"))]


def through_a_third(stage: Stage) -> Heard:
    """Show that a service may be another tenant's in turn; who asked first is said, and who asks now."""
    c, b = stage.user("c", b"SUB deep 1"), stage.user("b", b"SUB i.* 1")
    heard = [b.say(_publish(b"deep.c", b"rq", b"i.1"))]
    request = c.hear()
    return [*heard, request, c.say(_publish(_reply(request), b"ok")), b.hear()]


def reserved_replies(stage: Stage) -> Heard:
    """Show that nobody but the broker makes reply topics of that kind."""
    b = stage.user("b")
    return [b.say(_publish(b"ask.1", reply=b"_R_.aaaaaa.bbbbbb"))]


def functions(stage: Stage) -> Heard:
    """Show that every function of mappings makes the same of the same topic."""
    hears, f = stage.user("f", b"SUB > 1"), stage.user("f")
    heard = []
    for _, _, topics in FUNCTIONS:
        for topic in topics:
            heard += [f.say(_publish(topic.encode())), hears.hear()]
    return heard


SCENES = [
    mapped,
    mapped_and_headed,
    unheard_after_mapping,
    no_echo_after_mapping,
    streams,
    narrow_streams,
    streams_go_one_step,
    importing_is_no_publishing,
    private_streams,
    services,
    answers_to_answers,
    many_answers,
    nobody_serves,
    through_a_third,
    reserved_replies,
    functions,
]


# -- playing them -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Give the ports of a nats-server and of a brokerkit with the same tenants."""
    program = nats.find()
    if program is None:
        missing("no nats-server of 2.14 or later")
    home: Path = tmp_path_factory.mktemp("tenants")
    mappings = ", ".join(f"{json.dumps(pattern)}: {json.dumps(to)}" for pattern, to, _ in FUNCTIONS)
    conf, toml = home / "nats.conf", home / "brokerkit.toml"
    conf.write_text(CONF.replace("MAPPINGS", mappings))
    mappings = "\n".join(f"{json.dumps(pattern)} = {json.dumps(to)}" for pattern, to, _ in FUNCTIONS)
    toml.write_text(TOML.replace("MAPPINGS", mappings))
    assert program is not None
    with nats.NatsServer(program, conf) as theirs, nats.Brokerkit(toml) as ours:
        yield theirs.port, ours.port


def _play(scene: Callable[[Stage], Heard], port: int) -> Heard:
    stage = Stage(port)
    try:
        return [_alike(heard) for heard in scene(stage)]
    finally:
        stage.leave()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_same_is_heard(ports: tuple[int, int], scene: Callable[[Stage], Heard]) -> None:
    """Whoever says the same to either server hears the same."""
    theirs, ours = (_play(scene, port) for port in ports)
    assert ours == theirs


def _share(port: int) -> tuple[int, int]:
    stage = Stage(port)
    try:
        a, d = stage.user("a", b"SUB pub.q g 1"), stage.user("d", b"SUB pub.q g 1")
        stage.user("a").say(*[_publish(b"pub.q")] * 200)
        return len(a.hear()), len(d.hear())
    finally:
        stage.leave()


@pytest.mark.parametrize("server", [0, 1], ids=["nats-server", "brokerkit"])
def test_a_queue_is_one_across_tenants(ports: tuple[int, int], server: int) -> None:
    """Members of a queue in the exporter and in an importer share the messages: one of them gets each."""
    here, there = _share(ports[server])
    assert here + there == 200
    assert min(here, there) > 50
