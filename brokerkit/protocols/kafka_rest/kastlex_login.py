"""Logging in for a token, taking tokens back, and having the files of users read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin

from brokerkit.errors import BrokerError, Throttled, TooManyConnections, TryAgain
from brokerkit.protocols.kafka_rest.shapes import in_words
from brokerkit.protocols.kafka_rest.who import refusal
from brokerkit.realm import Mind
from brokerkit.web import Answer, Problem, json_answer, read_json

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked

WRONG = "invalid username or password"
FIELDS = ("username", "password")
MOST = 16  # fields of a form


class LoggingIn:
    """POST of a name and a password, and what an administrator may ask for."""

    def __init__(self, service: KafkaRest) -> None:
        """Give out that listener's tokens."""
        self._service = service

    async def login(self, asked: Asked) -> Answer:
        """Give a token for a name and its password; it is stored before, where tokens are."""
        service = self._service
        name, password = fields(asked)
        mind = Mind(address=asked.address, protocol=service.protocol, tenant=service.listen.tenant)
        try:
            client = await service.broker.login(UsernamePassword(name, password), mind)
        except UnauthorizedLogin as error:
            service.who.counts["logins_refused"] += 1
            if isinstance(error, Throttled | TryAgain | TooManyConnections):
                raise refusal(error) from None
            raise Problem(401, "Unauthenticated", error=WRONG) from None
        service.who.counts["logins"] += 1
        name = client.user.name
        client.leave()
        try:
            return json_answer({"token": await service.tokens.make(name.decode())})
        except BrokerError as error:
            raise in_words(error) from None

    async def revoke(self, asked: Asked, client: Client) -> Answer:
        """Take a user's token back."""
        service = self._service
        service.who.need(client, "revoke")
        if not service.tokens.can_revoke:
            hint = "tokens are not stored, so none can be taken back: token_storage = true stores them"
            raise Problem(409, "Conflict", hint)
        try:
            await service.tokens.revoke(asked.values["username"])
        except BrokerError as error:
            raise in_words(error) from None
        return Answer(204)

    async def reload(self, asked: Asked, client: Client) -> Answer:  # noqa: ARG002
        """Have the files of users read again, and hold everybody against them; who is broken keeps what it had."""
        service = self._service
        service.who.need(client, "reload")
        broker = service.broker
        broker.look_again()
        for checker in broker.checkers:
            taken = getattr(checker, "taken", None)
            if taken is not None:
                await taken()
        broken = [str(getattr(one, "source", "")) for one in broker.checkers if getattr(one, "broken", False)]
        if broken:
            text = f"{', '.join(broken)}: cannot be read; the users stay as they were, and the log says why"
            raise Problem(503, "Not Read", text)
        await broker.revocation.look(now=True)
        return Answer(204)


def fields(asked: Asked) -> tuple[bytes, bytes]:
    """Give name and password of a form or of JSON; raise ``Problem`` 400 where one of them is not there."""
    kind = asked.header("content-type").partition(";")[0].strip().lower()
    given = _json(asked) if kind == "application/json" else _form(asked)
    found = [given.get(field) for field in FIELDS]
    for field, value in zip(FIELDS, found, strict=True):
        if not isinstance(value, str):
            raise Problem(400, "Bad Request", f"{field}: expected a string, in a form or in JSON")
    name, password = (str(value).encode(errors="surrogatepass") for value in found)
    return name, password


def _json(asked: Asked) -> dict[str, Any]:
    given = read_json(asked.body)
    if not isinstance(given, dict):
        raise Problem(400, "Bad Request", 'expected an object such as {"username": "...", "password": "..."}')
    return given


def _form(asked: Asked) -> dict[str, Any]:
    try:
        return dict(parse_qsl(asked.body.decode(), keep_blank_values=True, max_num_fields=MOST, errors="strict"))
    except ValueError:
        raise Problem(400, "Bad Request", "expected a form with username and password") from None
