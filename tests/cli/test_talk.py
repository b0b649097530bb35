"""``brokerkit pub`` and ``sub``: what they say when a broker does not let them in."""

from __future__ import annotations

import pytest

from brokerkit.cli import conversation, talk
from brokerkit.cli.talk import Server


@pytest.mark.parametrize(
    ("name", "secret", "words"),
    [
        ("", "", "; no user was given: try --server nats://USER:SECRET@127.0.0.1:4222"),
        ("bob", "wrong", ""),
        ("", "t0ken", ""),
    ],
)
def test_refused(
    name: str, secret: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has said no name and has no demo user is told how to say one; no secret is repeated."""

    def refuse(*_: object) -> None:
        raise conversation.Refused("Authorization Violation")

    monkeypatch.setattr(conversation, "converse", refuse)
    with pytest.raises(SystemExit) as ended:
        talk.converse(Server("nats", "127.0.0.1", 4222, name, secret), 1.0, print)
    assert ended.value.code == talk.REFUSED
    assert capsys.readouterr().err == f"brokerkit: the broker refused: Authorization Violation{words}\n"
