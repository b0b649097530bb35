"""What a user may do by the permissions in its JWT: the same table is asked of brokerkit and of a nats-server.

Each row has the permissions as a JWT says them, and what is said and heard: ``>`` what the client sends, ``<`` what it
gets.  Everything runs on one connection that hears what it publishes itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.tokens import scoped, user

from .jwt_logins import ACCOUNT, ANN, DEFAULTS, UNASKED


class Right(NamedTuple):
    """Some permissions, and what follows from them."""

    id: str
    permissions: dict[str, Any]
    talk: str
    token: str = ""

    @property
    def jwt(self) -> str:
        """The user's token."""
        return self.token or user(ACCOUNT, ANN, bearer_token=True, **self.permissions)

    @property
    def said(self) -> bytes:
        """What the client sends."""
        return b"".join(line[2:].encode() + b"\r\n" for line in self._lines(">"))

    @property
    def heard(self) -> bytes:
        """What it gets."""
        return b"".join(line[2:].encode() + b"\r\n" for line in self._lines("<"))

    def _lines(self, sign: str) -> list[str]:
        lines = [line.strip() for line in self.talk.strip().splitlines()]
        return [f"{line} " if line == sign else line for line in lines if line.startswith(sign)]


def sub(what: str) -> str:
    """Give the answer to a SUB that is not allowed."""
    return f"< -ERR 'Permissions Violation for Subscription to {what}'"


def pub(what: str) -> str:
    """Give the answer to a PUB that is not allowed."""
    return f"""< -ERR 'Permissions Violation for Publish to "{what}"'"""


RIGHTS = [
    Right("nothing said", {}, "> SUB a 1\n> PUB a 1\n> x\n< MSG a 1 1\n< x"),
    Right("publish allowed", {"pub": {"allow": ["a.>"]}}, f"> PUB a.b 0\n> \n> PUB b 0\n> \n{pub('b')}"),
    Right("publish denied", {"pub": {"deny": ["a.*"]}}, f"> PUB a.b 0\n> \n> PUB b 0\n> \n{pub('a.b')}"),
    Right(
        "denied within allowed",
        {"pub": {"allow": ["a.>"], "deny": ["a.b"]}},
        f"> PUB a.b 0\n> \n> PUB a.c 0\n> \n> PUB b 0\n> \n{pub('a.b')}\n{pub('b')}",
    ),
    Right(
        "a queue that is named",
        {"sub": {"allow": ["q.x g1"]}},
        f"""> SUB q.x 4\n> SUB q.x g1 5\n> SUB q.x g2 6\n> PUB q.x 0\n>
        {sub('"q.x"')}\n{sub('"q.x" using queue "g2"')}\n< MSG q.x 5 0\n<""",
    ),
    Right(
        "queues by a pattern",
        {"sub": {"allow": ["q.x g.*", "q.y v1.>"]}},
        f"""> SUB q.x g.1 1\n> SUB q.x g 2\n> SUB q.y v1.2.3 3\n> SUB q.y v1 4\n> SUB q.y g.1 5
        {sub('"q.x" using queue "g"')}\n{sub('"q.y" using queue "v1"')}\n{sub('"q.y" using queue "g.1"')}""",
    ),
    Right(
        "any queue", {"sub": {"allow": ["q"]}}, f"""> SUB q 1\n> SUB q g 2\n> SUB p g 3\n{sub('"p" using queue "g"')}"""
    ),
    Right(
        "a queue that is named beside all",
        {"sub": {"allow": ["q", "q g1"]}},
        f"""> SUB q 1\n> SUB q g1 2\n> SUB q g2 3\n{sub('"q" using queue "g2"')}""",
    ),
    Right(
        "a queue that is named for a part",
        {"sub": {"allow": ["q.>", "q.a g1"]}},
        f"""> SUB q.b g2 1\n> SUB q.> g2 2\n> SUB q.a g2 3\n{sub('"q.a" using queue "g2"')}""",
    ),
    Right(
        "a queue that is denied",
        {"sub": {"allow": [">"], "deny": ["q g1", "q *.prod"]}},
        f"""> SUB q 1\n> SUB q g1 2\n> SUB q g2 3\n> SUB q x.prod 4\n> SUB q x.dev 5
        {sub('"q" using queue "g1"')}\n{sub('"q" using queue "x.prod"')}""",
    ),
    Right(
        "all queues that are denied",
        {"sub": {"deny": ["> *"]}},
        f"""> SUB q 1\n> SUB q g1 2\n> PUB q 0\n>\n{sub('"q" using queue "g1"')}\n< MSG q 1 0\n<""",
    ),
    Right(
        "deny at delivery",
        {"sub": {"deny": ["a.b"]}},
        f"""> SUB a.* 1\n> SUB a.b 2\n> PUB a.b 0\n>\n> PUB a.c 0\n>\n{sub('"a.b"')}\n< MSG a.c 1 0\n<""",
    ),
    Right(
        "one answer",
        {"pub": {"allow": ["rq"]}, "resp": {"max": 1}},
        f"> SUB rq 1\n> PUB rq r1 0\n> \n> PUB r1 0\n> \n> PUB r1 0\n> \n> PUB r2 0\n> \n"
        f"< MSG rq 1 r1 0\n<\n{pub('r1')}\n{pub('r2')}",
    ),
    Right(
        "the usual number of answers",
        {"pub": {"allow": ["rq"]}, "resp": {}},
        f"> SUB rq 1\n> PUB rq r1 0\n> \n> PUB r1 0\n> \n> PUB r1 0\n> \n< MSG rq 1 r1 0\n<\n{pub('r1')}",
    ),
    Right(
        "two answers, and two more",
        {"pub": {"allow": ["rq"]}, "resp": {"max": 2}},
        f"""> SUB rq 1\n> SUB r1 2\n> PUB rq r1 0\n>\n> PUB r1 1\n> a\n> PUB r1 1\n> b\n> PUB r1 1\n> c
        > PUB rq r1 0\n>\n> PUB r1 1\n> d
        < MSG rq 1 r1 0\n<\n< MSG r1 2 1\n< a\n< MSG r1 2 1\n< b\n{pub("r1")}\n< MSG rq 1 r1 0\n<\n< MSG r1 2 1\n< d""",
    ),
    Right(
        "any number of answers",
        {"pub": {"allow": ["rq"]}, "resp": {"max": -1, "ttl": -1}},
        "> SUB rq 1\n> PUB rq r1 0\n> \n> PUB r1 0\n> \n> PUB r1 0\n> \n> PUB r1 0\n> \n< MSG rq 1 r1 0\n<",
    ),
    Right("a right to answer shuts the rest out", {"resp": {"max": 1}}, f"> PUB a 0\n> \n{pub('a')}"),
    Right(
        "a right to answer beside denials",
        {"pub": {"deny": ["x"]}, "resp": {"max": 1}},
        f"> PUB a 0\n> \n> PUB x 0\n> \n{pub('a')}\n{pub('x')}",
    ),
    Right(
        "an answer that is denied",
        {"pub": {"allow": ["rq"], "deny": ["no.>"]}, "resp": {"max": 1}},
        f"> SUB rq 1\n> SUB no.x 2\n> PUB rq no.x 0\n> \n> PUB no.x 0\n> \n> PUB no.x 0\n> \n"
        f"< MSG rq 1 no.x 0\n<\n< MSG no.x 2 0\n<\n{pub('no.x')}",
    ),
    Right(
        "an answer to a member of a queue",
        {"pub": {"allow": ["rq"]}, "resp": {"max": 1}},
        f"> SUB rq g 1\n> PUB rq r1 0\n> \n> PUB r1 0\n> \n> PUB r1 0\n> \n< MSG rq 1 r1 0\n<\n{pub('r1')}",
    ),
    Right(
        "no answer to what was not received",
        {"pub": {"allow": ["rq"]}, "resp": {"max": 1}},
        f"> PUB rq r1 0\n> \n> PUB r1 0\n> \n{pub('r1')}",
    ),
    Right("no subscriptions", {"subs": 0}, "> SUB a 1\n< -ERR 'maximum subscriptions exceeded'"),
    Right("one subscription", {"subs": 1}, "> SUB a 1\n> SUB b 2\n< -ERR 'maximum subscriptions exceeded'"),
    Right("defaults", {}, f"> PUB a 0\n> \n> PUB d 0\n> \n{pub('a')}", user(DEFAULTS, ANN, bearer_token=True)),
    Right(
        "defaults beside its own",
        {},
        f"> PUB a 0\n> \n> PUB d 0\n> \n{pub('d')}",
        user(DEFAULTS, ANN, bearer_token=True, pub={"allow": ["a"]}),
    ),
    Right(
        "defaults beside a right to subscribe",
        {},
        "> PUB a 0\n> \n> PUB d 0\n>",
        user(DEFAULTS, ANN, bearer_token=True, sub={"allow": ["a"]}),
    ),
]


def blanks(id: str, talk: str, *, others: dict[str, Any] | None = None, tags: tuple[str, ...] = ()) -> Right:  # noqa: A002
    """Give a row for a user with the terms of a signing key."""
    token = scoped(UNASKED, ANN, ACCOUNT, others={"name": "ann", **(others or {})}, tags=list(tags))
    return Right(id, {}, talk, token)


BLANKS = [
    blanks(
        "the name and the key",
        f"> PUB own.ann.x 0\n> \n> PUB own.bob.x 0\n> \n> PUB key.{ANN.public} 0\n> \n> SUB in.ann 1\n"
        f"> SUB in.{ACCOUNT.public} 2\n> SUB in.bob 3\n{pub('own.bob.x')}\n{sub(chr(34) + 'in.bob' + chr(34))}",
    ),
    blanks(
        "a name of two tokens", f"> PUB own.a.b.x 0\n> \n> PUB own.a.x 0\n> \n{pub('own.a.x')}", others={"name": "a.b"}
    ),
    blanks("a name that is empty", f"> PUB own.x 0\n> \n{pub('own.x')}", others={"name": ""}),
    blanks(
        "two tags",
        f"> PUB tag.red 0\n> \n> PUB tag.blue 0\n> \n> PUB tag.x 0\n> \n{pub('tag.x')}",
        tags=("team:red", "team:blue", "x:y"),
    ),
    blanks("a tag in other letters", f"> PUB tag.RED 0\n> \n{pub('tag.RED')}", tags=("TEAM:RED",)),
    blanks("a name that is a wildcard", "> PUB own.b.x 0\n> ", others={"name": "*"}),
    blanks("a tag that is a wildcard", "> PUB tag.b 0\n> ", tags=("team:*",)),
    blanks("no tag", f"> PUB tag.red 0\n> \n{pub('tag.red')}"),
]
