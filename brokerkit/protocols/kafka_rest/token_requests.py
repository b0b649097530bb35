"""What ``brokerkit token`` asks for at the control socket of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.control import Refused
from brokerkit.credentials import Vouched
from brokerkit.errors import BrokerError
from brokerkit.realm import Mind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.protocols.kafka_rest.service import KafkaRest


class TokenRequests:
    """Makes and revokes tokens for whoever may open the control socket."""

    def __init__(self, service: KafkaRest) -> None:
        """Give out that listener's tokens."""
        self._service = service

    async def answer(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Do what is asked for; raise ``Refused``."""
        name, lasts = request.get("name"), request.get("lasts")
        if not isinstance(name, str) or not name:
            raise Refused("name: expected the name of a user, a string")
        try:
            if request.get("what") == "make":
                return {"token": await self._make(name, lasts)}
            if request.get("what") == "revoke":
                return await self._revoke(name)
        except BrokerError as error:
            raise Refused(str(error)) from None
        raise Refused("what: expected make or revoke")

    async def _make(self, name: str, lasts: object) -> str:
        if lasts is not None and (type(lasts) not in {int, float} or not lasts > 0):  # type: ignore[operator]
            raise Refused("lasts: expected seconds, a number")
        service = self._service
        try:
            mind = Mind(protocol=service.protocol, tenant=service.listen.tenant)
            client = await service.broker.login(Vouched(name.encode(errors="surrogateescape")), mind)
        except Exception as error:
            raise Refused(f"nobody called {name!r} can log in there: {type(error).__name__}") from None
        client.leave()
        return await service.tokens.make(name, lasts)  # type: ignore[arg-type]

    async def _revoke(self, name: str) -> dict[str, object]:
        if not self._service.tokens.can_revoke:
            raise Refused("tokens are not stored, so none can be taken back: token_storage = true stores them")
        await self._service.tokens.revoke(name)
        return {}
