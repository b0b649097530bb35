"""What nats-server answers to odd inputs, as data: one table for brokerkit and for nats-server itself.

Each row is what a client says on a new connection, what it is answered, and whether that was the end.  An open
connection is asked by a PING behind it all, whose PONG is not written in the table.
"""

from __future__ import annotations

from typing import NamedTuple

from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, patterns

QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
VERBOSE = b'CONNECT {"verbose":true,"pedantic":false,"headers":true}\r\n'
PEDANTIC = b'CONNECT {"verbose":false,"pedantic":true,"headers":true}\r\n'
PEDANTIC_VERBOSE = b'CONNECT {"verbose":true,"pedantic":true,"headers":true}\r\n'
NO_RESPONDERS = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
NO_ECHO = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"echo":false}\r\n'
ANN = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"user":"ann","pass":"secret"}\r\n'
ANN_VERBOSE = b'CONNECT {"verbose":true,"pedantic":false,"user":"ann","pass":"secret"}\r\n'

OK = b"+OK\r\n"
UNKNOWN = b"-ERR 'Unknown Protocol Operation'\r\n"
TOO_LARGE = b"-ERR 'Maximum Payload Violation'\r\n"
TOO_LONG = b"-ERR 'maximum control line exceeded'\r\n"
REFUSED = b"-ERR 'Authorization Violation'\r\n"
INVALID = b"-ERR 'Invalid Subject'\r\n"
INVALID_PUBLISH = b"-ERR 'Invalid Publish Subject'\r\n"

USERS = {"ann": "secret", "bob": "other"}
ALLOW_PUBLISH, DENY_PUBLISH = ["pub.>", "a.*", "r"], ["pub.no.>"]
ALLOW_SUBSCRIBE, DENY_SUBSCRIBE = ["sub.>", "pub.>", "a.*", "r"], ["sub.no", "sub.not.>", "pub.hidden.>"]


def _access(allow: list[str], deny: list[str]) -> Access:
    return Access(patterns(name.encode() for name in allow), patterns(name.encode() for name in deny))


GRANTS = {
    "ann": Grants({PUBLISH: _access(ALLOW_PUBLISH, DENY_PUBLISH), SUBSCRIBE: _access(ALLOW_SUBSCRIBE, DENY_SUBSCRIBE)}),
}


class Row(NamedTuple):
    """What is said behind ``before``, what is answered, whether the connection is then closed."""

    said: bytes
    answer: bytes = b""
    closed: bool = False
    before: bytes = QUIET


def denied(what: str, subject: str, queue: str = "") -> bytes:
    """Spell a permissions error; what is in quotes is quoted already."""
    using = f' using queue "{queue}"' if queue else ""
    return f"-ERR 'Permissions Violation for {what} \"{subject}\"{using}'\r\n".encode()


def publish(what: str) -> bytes:
    """Spell the permissions error of a PUB."""
    return denied("Publish to", what)


def reply(what: str) -> bytes:
    """Spell the permissions error of a reply subject."""
    return denied("Publish with Reply of", what)


def sub(what: str, queue: str = "") -> bytes:
    """Spell the permissions error of a SUB."""
    return denied("Subscription to", what, queue)


def status(subject: bytes, to: bytes = b"r", sid: bytes = b"1") -> bytes:
    """Spell the 503 that says that nobody hears a subject."""
    size = 32 + len(subject)
    return b"HMSG %b %b %d %d\r\nNATS/1.0 503\r\nNats-Subject: %b\r\n\r\n\r\n" % (to, sid, size, size, subject)


ALL = b"SUB > 1\r\n"
HI = b"MSG foo 1 2\r\nhi\r\n"

OPERATIONS = [
    *(Row(said, UNKNOWN, closed=True) for said in (b"FOO\r\n", b"\r\n", b"\n", b" PING\r\n", b"\tPING\r\n", b"\0")),
    *(Row(said, UNKNOWN, closed=True) for said in (b"MSG a 1 0\r\n\r\n", b"RS+ a b\r\n")),
    *(Row(said, UNKNOWN, closed=True) for said in (b"LS+ a\r\n", b"A+ a\r\n", b"PX", b"PUBx", b"SUBx", b"UNSUBx")),
    *(Row(said, UNKNOWN, closed=True) for said in (b"PUB\r\n", b"HPUB\r\n", b"SUB\r\n", b"UNSUB\r\n", b"-ERR\r\n")),
    *(Row(said, b"", closed=True) for said in (b"PUB \r\n", b"PUB foo\r\n", b"PUB a b c 2\r\n", b"HPUB foo 24\r\n")),
    *(Row(said, b"", closed=True) for said in (b"SUB \r\n", b"SUB foo\r\n", b"SUB a b c d\r\n", b"HPUB a b c 1 2\r\n")),
    *(Row(said, b"", closed=True) for said in (b"UNSUB \r\n", b"UNSUB 1 2 3\r\n", b"-ERR 'x'\r\n", b"-ERR x\n")),
    *(
        Row(said, b"PONG\r\n")
        for said in (b"PING\r\n", b"ping\r\n", b"pInG\r\n", b"PING abc\r\n", b"PINGx\r\n", b"PING\n")
    ),
    *(
        Row(said)
        for said in (b"PONG\r\n", b"+OK\r\n", b"+ok what\r\n", b'INFO {"a":1}\r\n', b"info {}\n", b"INFO{}\r\n")
    ),
    *(
        Row(said, b"", closed=True)
        for said in (b"INFO xx\r\n", b"INFO \r\n", b"INFO\r\n", b"INFO []\r\n", b"INFO 1\r\n")
    ),
]

SIZES = [
    *(Row(b"PUB foo " + size + b"\r\n", b"", closed=True) for size in (b"xx", b"-1", b"+1", b"1.0", b"0x1", b"1_0")),
    Row(b"PUB foo 1234567890\r\n", b"", closed=True),
    Row(b"PUB foo 0000000002\r\n", b"", closed=True),
    Row(b"PUB foo 123456789\r\n", TOO_LARGE, closed=True),
    Row(b"PUB foo 1048577\r\n", TOO_LARGE, closed=True),
    Row(b"HPUB foo 1048576 1048577\r\n", TOO_LARGE, closed=True),
    Row(b"PUB foo 1048576\r\n" + bytes(1048576) + b"\r\n"),
    Row(b"PUB foo 2\r\nhiX\r\n", UNKNOWN, closed=True),
    Row(b"PUB foo 2\r\nhi\n", UNKNOWN, closed=True),
    Row(b"PUB foo 2\r\nhi\r\r\n", UNKNOWN, closed=True),
    Row(b"PUB foo 2\r\nh\r\n\r\n", UNKNOWN, closed=True),
    Row(b"PUB foo 0\r\r\n\r\n", b"", closed=True),
    Row(ALL + b"PUB foo 2\r\nhi\r\nFOO\r\nPUB foo 2\r\nho\r\n", HI + UNKNOWN, closed=True),
]

SPELLINGS = [
    *(
        Row(ALL + said + b"hi\r\n", HI)
        for said in (b"PUB foo 2\r\n", b"PUB foo 2\n", b"pub foo 2\r\n", b"PuB foo 2\r\n")
    ),
    *(Row(ALL + said + b"hi\r\n", HI) for said in (b"PUB\tfoo\t2\r\n", b"PUB  \t foo \t 2  \r\n", b"PUB foo  2\t\r\n")),
    Row(ALL + b"PUB foo 002\r\nhi\r\n", b"MSG foo 1 002\r\nhi\r\n"),
    Row(ALL + b"PUB foo bar.baz 2\r\nhi\r\n", b"MSG foo 1 bar.baz 2\r\nhi\r\n"),
    Row(ALL + b"PUB foo 2\r\n\r\n\r\n", b"MSG foo 1 2\r\n\r\n\r\n"),
    Row(ALL + b"PUB foo 0\r\n\r\n", b"MSG foo 1 0\r\n\r\n"),
    Row(b"SUB foo  1\r\nPUB foo  2\r\nhi\r\n", HI),
    Row(b"sub\tfoo 1 \r\nPUB foo 2\r\nhi\r\n", HI),
    Row(b"SUB foo 1\r\nUNSUB 1 \r\nPUB foo 2\r\nhi\r\n"),
    Row(b"SUB foo abc-DEF\r\nPUB foo 0\r\n\r\n", b"MSG foo abc-DEF 0\r\n\r\n"),
    Row(b"SUB foo \xff\"'\r\nPUB foo 0\r\n\r\n", b"MSG foo \xff\"' 0\r\n\r\n"),
    Row(b"SUB " + b"a" * 4094 + b" 1\r\n"),
    Row(b"SUB " + b"a" * 4095 + b" 1\r\n", TOO_LONG, closed=True),
    Row(b"SUB " + b"a" * 4097, TOO_LONG, closed=True),
    Row(b"PUB " + b"a" * 4094 + b" 0\r\n\r\n"),
    Row(b"PUB " + b"a" * 4095 + b" 0\r\n\r\n", TOO_LONG, closed=True),
    Row(b"-ERR" + b" x" * 3000, TOO_LONG, closed=True),
    Row(b'INFO {"a":"' + b"x" * 4087 + b'"}\r\n'),
    Row(b'INFO {"a":"' + b"x" * 4089 + b'"}\r\n', TOO_LONG, closed=True),
]

CONNECTS = [
    *(Row(said, b"", closed=True, before=b"") for said in (b"CONNECT\r\n", b"CONNECT \r\n", b"CONNECT xx\r\n")),
    *(Row(said, b"", closed=True, before=b"") for said in (b"CONNECT []\r\n", b"CONNECT 1\r\n", b"CONNECT {} {}\r\n")),
    *(
        Row(b"CONNECT {" + said + b"}\r\n", b"", closed=True, before=b"")
        for said in (
            b'"verbose":"x"',
            b'"protocol":1.5',
            b'"protocol":true',
            b'"name":1',
            b'"x":NaN',
            b'"verbose":true,',
        )
    ),
    *(
        Row(b"CONNECT {" + said + b"}\r\n", OK, before=b"")
        for said in (
            b"",
            b'"user":"x","pass":"y"',
            b'"auth_token":"x"',
            b'"foo":[{}]',
            b'"verbose":null',
            b'"account":""',
        )
    ),
    *(
        Row(b'CONNECT {"lang":"x",' + said + b"}\r\n", b"", before=b"")
        for said in (b'"verbose":false', b'"VERBOSE":false', b'"verbose":true,"verbose":false', b'"Verbose":false')
    ),
    Row(b"CONNECT null\r\n", OK, before=b""),
    Row(b'connect\t{"name":"\xff \\ud800"}\n', OK, before=b""),
    Row(b'CONNECT{"verbose":false}\r\n', b"", before=b""),
    Row(b'CONNECT {"user":"\\ud800"}\r\n', OK, before=b""),
    Row(b'CONNECT {"tls_required":true,"verbose":false}\r\n', b"", before=b""),
    *(
        Row(
            b'CONNECT {"protocol":' + version + b"}\r\n", b"-ERR 'invalid client protocol'\r\n", closed=True, before=b""
        )
        for version in (b"2", b"-1", b"99")
    ),
    Row(b'CONNECT {"account":"x"}\r\n', REFUSED, closed=True, before=b""),
    Row(b'CONNECT {"new_account":true}\r\n', REFUSED, closed=True, before=b""),
    Row(b'CONNECT {"account":"x","protocol":7}\r\n', REFUSED, closed=True, before=b""),
    Row(
        b'CONNECT {"no_responders":true,"headers":false}\r\n',
        b"-ERR 'no responders requires headers support'\r\n",
        closed=True,
        before=b"",
    ),
    Row(
        b'CONNECT {"no_responders":true}\r\n',
        b"-ERR 'no responders requires headers support'\r\n",
        closed=True,
        before=b"",
    ),
    Row(QUIET, OK, before=VERBOSE),
    Row(b"CONNECT {}\r\nSUB a 1\r\n", b"", before=QUIET),
    Row(b'CONNECT {"pedantic":true}\r\nPUB * 0\r\n\r\n', OK * 2 + INVALID_PUBLISH + OK, before=VERBOSE),
    Row(b"SUB a 1\r\n" + QUIET + b"SUB a 2\r\nPUB a 0\r\n\r\n", b"MSG a 2 0\r\n\r\n"),
]

BEFORE_CONNECT = [
    Row(b"PING\r\n", b"PONG\r\n", before=b""),
    Row(b"SUB foo 1\r\nPUB foo 2\r\nhi\r\nUNSUB 1\r\n", OK + OK + HI + OK, before=b""),
    Row(b"SUB a.* 1\r\nPUB a.* 0\r\n\r\n", OK + INVALID_PUBLISH + OK + b"MSG a.* 1 0\r\n\r\n", before=b""),
    Row(b"UNSUB 9\r\n", OK, before=b""),
    Row(b"SUB a..b 1\r\n", INVALID, before=b""),
    Row(b"PONG\r\n+OK\r\nINFO {}\r\n", before=b""),
    Row(b"HPUB a 0 2\r\nhi\r\n", b"", closed=True, before=b""),
    Row(b"SUB foo 1\r\n" + QUIET + b"PUB foo 2\r\nhi\r\n", OK + HI, before=b""),
]

HEADERS = [
    Row(ALL + b"HPUB foo 4 6\r\nabcdhi\r\n", b"HMSG foo 1 4 6\r\nabcdhi\r\n"),
    Row(ALL + b"HPUB foo re.ply 4 6\r\nabcdhi\r\n", b"HMSG foo 1 re.ply 4 6\r\nabcdhi\r\n"),
    Row(ALL + b"HPUB foo 6 6\r\nabcdhi\r\n", b"HMSG foo 1 6 6\r\nabcdhi\r\n"),
    Row(ALL + b"HPUB foo 0 2\r\nhi\r\n", HI),
    Row(b"HPUB foo 7 6\r\nabcdhi\r\n", b"", closed=True),
    Row(b"HPUB foo x 6\r\nabcdhi\r\n", b"", closed=True),
    Row(b"HPUB foo 0 2\r\nhi\r\n", b"", closed=True, before=b'CONNECT {"verbose":false,"pedantic":false}\r\n'),
    Row(
        b'CONNECT {"headers":false}\r\nHPUB foo 0 2\r\nhi\r\n',
        b"",
        closed=True,
    ),
]

SUBJECTS = [
    *(Row(b"SUB " + name + b" 1\r\n", INVALID) for name in (b"foo..bar", b"foo.", b".foo", b".", b"foo.>.bar", b">.a")),
    Row(b"SUB foo..bar q 1\r\n", INVALID),
    Row(b"SUB foo* 1\r\nPUB foo* 0\r\n\r\nPUB foox 0\r\n\r\n", b"MSG foo* 1 0\r\n\r\n"),
    Row(b"SUB foo.bar> 1\r\nPUB foo.bar> 0\r\n\r\nPUB foo.bar.x 0\r\n\r\n", b"MSG foo.bar> 1 0\r\n\r\n"),
    Row(b"SUB * 1\r\nPUB a 0\r\n\r\nPUB a.b 0\r\n\r\n", b"MSG a 1 0\r\n\r\n"),
    Row(b"SUB *.b 1\r\nPUB a.b 0\r\n\r\nPUB a.c 0\r\n\r\n", b"MSG a.b 1 0\r\n\r\n"),
    Row(b"SUB a.*.c 1\r\nPUB a.b.c 0\r\n\r\nPUB a.c 0\r\n\r\nPUB a.b.b.c 0\r\n\r\n", b"MSG a.b.c 1 0\r\n\r\n"),
    Row(b"SUB a.> 1\r\nPUB a 0\r\n\r\nPUB a.b 0\r\n\r\nPUB b.a 0\r\n\r\n", b"MSG a.b 1 0\r\n\r\n"),
    Row(b"SUB *.> 1\r\nPUB a 0\r\n\r\nPUB a.b.c 0\r\n\r\n", b"MSG a.b.c 1 0\r\n\r\n"),
    Row(b"SUB \xc3\xa9.> 1\r\nPUB \xc3\xa9.\xff 0\r\n\r\n", b"MSG \xc3\xa9.\xff 1 0\r\n\r\n"),
    *(Row(ALL + b"PUB " + name + b" 0\r\n\r\n") for name in (b"foo..bar", b"foo.", b".foo", b".", b"..")),
    Row(b"SUB foo.* 1\r\nPUB foo.* 0\r\n\r\n", b"MSG foo.* 1 0\r\n\r\n"),
    Row(b"SUB foo.> 1\r\nPUB foo.* 0\r\n\r\n", b"MSG foo.* 1 0\r\n\r\n"),
    Row(b"SUB foo.a 1\r\nPUB foo.* 0\r\n\r\n"),
    Row(b"SUB > 1\r\nPUB > 0\r\n\r\n", b"MSG > 1 0\r\n\r\n"),
    Row(b"SUB foo 1\r\nPUB > 0\r\n\r\n"),
    Row(b"SUB $SYS.> 1\r\nPUB $SYS.x 0\r\n\r\n", b"MSG $SYS.x 1 0\r\n\r\n"),
    *(Row(ALL + b"PUB " + name.encode() + b" 0\r\n\r\n", publish(name)) for name in ("_GR_.a.b.x", "$NRG.x")),
    *(Row(b"PUB foo " + to.encode() + b" 1\r\nx\r\n", reply(to)) for to in ("_R_.xx", "$JS.ACK.x", "_GR_.x")),
    Row(b"PUB _GR_.x _R_.x 1\r\nx\r\n", publish("_GR_.x")),
    Row(ALL + b"PUB $NRG 0\r\n\r\nPUB a _R_ 0\r\n\r\n", b"MSG $NRG 1 0\r\n\r\nMSG a 1 _R_ 0\r\n\r\n"),
    Row(ALL + b"PUB foo r..x 0\r\n\r\nPUB foo r.* 0\r\n\r\n", b"MSG foo 1 r..x 0\r\n\r\nMSG foo 1 r.* 0\r\n\r\n"),
    Row(b'PUB _GR_."\\ 0\r\n\r\n', publish(r"_GR_.\"\\")),
    Row(
        b"PUB _GR_.\xff\0\x07\x1f\x7f\xc3\xa9\xe2\x80\xa8\xf3\xa0\x80\x81 0\r\n\r\n",
        publish("_GR_.\\xff\\x00\\a\\x1f\\x7fé\\u2028\\U000e0001"),
    ),
]

SUBSCRIPTIONS = [
    Row(b"SUB foo _sys_ 1\r\n", sub("foo", "_sys_")),
    Row(b"SUB foo..bar _sys_ 1\r\n", sub("foo..bar", "_sys_")),
    Row(b"SUB foo 1\r\nSUB bar 1\r\nPUB bar 0\r\n\r\nPUB foo 0\r\n\r\n", b"MSG foo 1 0\r\n\r\n"),
    Row(b"SUB foo 1\r\nSUB bar..x 1\r\nSUB bar _sys_ 1\r\n", sub("bar", "_sys_")),
    Row(b"UNSUB 99\r\nUNSUB 99 5\r\n"),
    Row(b"SUB foo 1\r\nSUB foo 2\r\nUNSUB 1\r\nPUB foo 0\r\n\r\n", b"MSG foo 2 0\r\n\r\n"),
    *(Row(b"SUB foo 1\r\nUNSUB 1 " + n + b"\r\nPUB foo 0\r\n\r\n") for n in (b"0", b"xx", b"-1", b"1234567890")),
    Row(b"SUB foo 1\r\nUNSUB 1 2\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI * 2),
    Row(b"SUB foo 1\r\nUNSUB 1 2\r\nUNSUB 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 3),
    Row(b"SUB foo 1\r\nUNSUB 1 5\r\nUNSUB 1 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI),
    Row(b"SUB foo 1\r\nUNSUB 1 1\r\nUNSUB 1 3\r\n" + b"PUB foo 2\r\nhi\r\n" * 5, HI * 3),
    Row(b"SUB foo 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 2 + b"UNSUB 1 3\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI * 3),
    Row(b"SUB foo 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 2 + b"UNSUB 1 2\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI * 2),
    Row(b"SUB foo 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 2 + b"UNSUB 1 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI * 2),
    Row(b"UNSUB 1 1\r\nSUB foo 1\r\n" + b"PUB foo 2\r\nhi\r\n" * 2, HI * 2),
    Row(b"SUB foo q 1\r\nUNSUB 1 2\r\n" + b"PUB foo 2\r\nhi\r\n" * 3, HI * 2),
    Row(b"SUB bar 1\r\nUNSUB 1 1\r\nPUB bar 0\r\n\r\nSUB foo 1\r\nPUB foo 2\r\nhi\r\n", b"MSG bar 1 0\r\n\r\n" + HI),
    Row(b"SUB foo q 1\r\nPUB foo 2\r\nhi\r\n", HI),
    Row(b"SUB foo 1\r\nPUB foo 2\r\nhi\r\n", before=NO_ECHO),
]

TALKATIVE = [
    Row(ALL + b"PUB foo 2\r\nhi\r\nUNSUB 1\r\nPING\r\n", OK * 3 + HI + OK + b"PONG\r\n", before=VERBOSE),
    Row(b"HPUB foo 4 4\r\nabcd\r\n", OK + OK, before=VERBOSE),
    Row(b"SUB a 1\r\nSUB b 1\r\nUNSUB 7\r\nUNSUB 1 x\r\n", OK * 5, before=VERBOSE),
    Row(b"PUB a..b 0\r\n\r\nPUB a.* 0\r\n\r\n", OK * 3, before=VERBOSE),
    Row(b"PUB _GR_.x 0\r\n\r\n", OK + publish("_GR_.x"), before=VERBOSE),
    Row(b"PUB a _R_.x 0\r\n\r\n", OK + reply("_R_.x"), before=VERBOSE),
    Row(b"SUB a _sys_ 1\r\n", OK + sub("a", "_sys_"), before=VERBOSE),
    Row(b"SUB a..b 1\r\n", OK + INVALID, before=VERBOSE),
    Row(b"PONG\r\n+OK\r\nINFO {}\r\n", OK, before=VERBOSE),
    Row(ALL + b"PUB a.* 0\r\n\r\n", INVALID_PUBLISH + b"MSG a.* 1 0\r\n\r\n", before=PEDANTIC),
    Row(ALL + b"PUB a.> 0\r\n\r\n", INVALID_PUBLISH + b"MSG a.> 1 0\r\n\r\n", before=PEDANTIC),
    Row(ALL + b"PUB a..b 0\r\n\r\n", INVALID_PUBLISH, before=PEDANTIC),
    Row(ALL + b"PUB a* 0\r\n\r\n", b"MSG a* 1 0\r\n\r\n", before=PEDANTIC),
    Row(ALL + b"PUB a r.* 0\r\n\r\n", b"MSG a 1 r.* 0\r\n\r\n", before=PEDANTIC),
    Row(b"SUB a..b 1\r\nSUB a.>.b 1\r\n", INVALID * 2, before=PEDANTIC),
    Row(b"PUB a..b 0\r\n\r\n", OK + INVALID_PUBLISH + OK, before=PEDANTIC_VERBOSE),
    Row(b"PUB _GR_.* 0\r\n\r\n", OK + INVALID_PUBLISH + publish("_GR_.*"), before=PEDANTIC_VERBOSE),
]

REQUESTS = [
    Row(b"SUB r 1\r\nPUB foo r 2\r\nhi\r\n", status(b"foo"), before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nHPUB foo r 4 4\r\nabcd\r\n", status(b"foo"), before=NO_RESPONDERS),
    Row(b"SUB r.* 1\r\nPUB foo r.7 2\r\nhi\r\n", status(b"foo", b"r.7"), before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nPUB foo..x r 2\r\nhi\r\n", status(b"foo..x"), before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nPUB foo.* r 2\r\nhi\r\n", status(b"foo.*"), before=NO_RESPONDERS),
    Row(b"SUB r 1\r\n" + b"PUB foo r 2\r\nhi\r\n" * 3, status(b"foo") * 3, before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nPUB foo 2\r\nhi\r\n", before=NO_RESPONDERS),
    Row(b"PUB foo r 2\r\nhi\r\n", before=NO_RESPONDERS),
    Row(b"SUB r q 1\r\nPUB foo r 2\r\nhi\r\n", before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nPUB foo r 2\r\nhi\r\n", before=QUIET),
    Row(b"SUB r 1\r\nPUB r r 2\r\nhi\r\n", b"MSG r 1 r 2\r\nhi\r\n", before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nSUB foo 2\r\nPUB foo r 2\r\nhi\r\n", b"MSG foo 2 r 2\r\nhi\r\n", before=NO_RESPONDERS),
    Row(b"SUB r 1\r\nSUB foo 2\r\nPUB foo r 2\r\nhi\r\n", status(b"foo"), before=NO_ECHO),
    Row(b"SUB r 1\r\nPUB foo r 1\r\nx\r\nPUB foo r 1\r\nx\r\n", status(b"foo") * 2, before=NO_RESPONDERS),
]

OPEN = {
    "operations": OPERATIONS,
    "sizes": SIZES,
    "spellings": SPELLINGS,
    "connect": CONNECTS,
    "before connect": BEFORE_CONNECT,
    "headers": HEADERS,
    "subjects": SUBJECTS,
    "subscriptions": SUBSCRIPTIONS,
    "talkative": TALKATIVE,
    "requests": REQUESTS,
}

LOGINS = [
    *(Row(said, REFUSED, closed=True, before=b"") for said in (b"PING\r\n", b"SUB a 1\r\n", b"PUB a 0\r\n\r\n", b"P")),
    *(
        Row(said, REFUSED, closed=True, before=b"")
        for said in (b"PONG\r\n", b"+OK\r\n", b"INFO {}\r\n", b"-ERR 'x'\r\n")
    ),
    *(
        Row(said, REFUSED, closed=True, before=b"")
        for said in (b"FOO\r\n", b"\r\n", b"HPUB a 0 0\r\n\r\n", b"UNSUB 1\r\n")
    ),
    *(
        Row(b"CONNECT {" + said + b"}\r\nSUB a 1\r\nPUB a 0\r\n\r\n", REFUSED, closed=True, before=b"")
        for said in (
            b"",
            b'"user":"ann"',
            b'"user":"ann","pass":"other"',
            b'"user":"nobody","pass":"secret"',
            b'"pass":"secret"',
            b'"auth_token":"secret"',
            b'"jwt":"x","sig":"y"',
            b'"account":"x"',
        )
    ),
    Row(b"CONNECT xx\r\n", b"", closed=True, before=b""),
    Row(b"CONNECT " + b"x" * 5000, TOO_LONG, closed=True, before=b""),
    Row(ANN_VERBOSE, OK, before=b""),
    Row(b"CONNECT {}\r\n", b"", before=ANN),
    Row(b'CONNECT {"pass":"wrong"}\r\nPUB pub.x 0\r\n\r\n', REFUSED, closed=True, before=ANN),
    Row(b'CONNECT {"user":"bob","pass":"other"}\r\nSUB x 1\r\nPUB x 0\r\n\r\n', b"MSG x 1 0\r\n\r\n", before=ANN),
]

PERMISSIONS = [
    *(
        Row(b"SUB " + x.encode() + b" 1\r\n", sub(x), before=ANN)
        for x in ("sub.no", "sub.not.x", "sub.not.>", "sub", ">")
    ),
    *(Row(b"SUB " + x.encode() + b" 1\r\n", sub(x), before=ANN) for x in ("x..y", "*.x", "a.b.c", "sub.not..")),
    Row(b"SUB x q 1\r\n", sub("x", "q"), before=ANN),
    Row(b"SUB sub.x _sys_ 1\r\n", sub("sub.x", "_sys_"), before=ANN),
    *(
        Row(b"SUB " + x + b" 1\r\n", before=ANN)
        for x in (b"sub.>", b"sub.*", b"sub.not", b"a.*", b"a.b", b"pub.hidden")
    ),
    Row(b"SUB sub.x 1\r\nSUB x 1\r\nSUB x 2\r\n", sub("x") * 2, before=ANN),
    Row(b"SUB x 1\r\nSUB sub.x 2\r\n", OK + sub("x") + OK, before=ANN_VERBOSE),
    *(
        Row(b"PUB " + x.encode() + b" 0\r\n\r\n", publish(x), before=ANN)
        for x in ("x", "pub", "pub.no.x", "a.b.c", ">")
    ),
    *(Row(b"PUB " + x.encode() + b" 0\r\n\r\n", publish(x), before=ANN) for x in ("x..y", "x.", "pub.no.*", "a.>.c")),
    *(Row(b"PUB " + x + b" 0\r\n\r\n", before=ANN) for x in (b"pub.x", b"pub.no", b"pub.*", b"a.b", b"a.*")),
    Row(b"HPUB x 1 1\r\nx\r\n", publish("x"), before=ANN),
    Row(b"PUB x 0\r\n\r\nPUB pub.x 0\r\n\r\n", OK + publish("x") + OK, before=ANN_VERBOSE),
    Row(b"PUB x 0\r\n\r\n" * 2 + b"PUB y 0\r\n\r\n", publish("x") * 2 + publish("y"), before=ANN),
    Row(b"PUB x _R_.x 0\r\n\r\n", publish("x"), before=ANN),
    Row(b"PUB pub.x x 0\r\n\r\n", before=ANN),
    Row(
        b"SUB pub.> 1\r\nPUB pub.hidden.x 0\r\n\r\nPUB pub.x 0\r\n\r\n",
        b"MSG pub.x 1 0\r\n\r\n",
        before=ANN,
    ),
    Row(
        b"SUB pub.> q 1\r\nPUB pub.hidden.x 0\r\n\r\nPUB pub.x 0\r\n\r\n",
        b"MSG pub.x 1 0\r\n\r\n",
        before=ANN,
    ),
]

USERS_ONLY = {"logins": LOGINS, "permissions": PERMISSIONS}
