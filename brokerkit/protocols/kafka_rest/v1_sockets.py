"""The WebSockets of the modern API: how one begins, and which are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from wsproto.frame_protocol import CloseReason

from brokerkit.deflate import AGREED
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS
from brokerkit.protocols.kafka_rest.v1_socket import CREDIT, MOST_CREDIT, Socket
from brokerkit.upgrade import NotUpgraded, Rules, taken
from brokerkit.web import Parameter, Problem, Route, Stream

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.v1_groups import GroupRoutes
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.protocols.kafka_rest.v1_waiting import Waiting
    from brokerkit.web import Asked


class Sockets:
    """The route of WebSockets, and those that are open."""

    def __init__(self, here: Here, groups: GroupRoutes, waiting: Waiting) -> None:
        """Serve what is there."""
        self.here = here
        self.groups = groups
        self.waiting = waiting
        self.cut = 0
        self._open: dict[Socket, None] = {}
        service = here.service
        self._rules = Rules(
            service.cors.origins, same_origin=not service.cors.allows_all, compression=True, tls=service.secure
        )

    def __len__(self) -> int:
        """Give the number that is open."""
        return len(self._open)

    def stop(self) -> None:
        """Close all."""
        for one in list(self._open):
            one.close(CloseReason.GOING_AWAY, "stopping")

    def routes(self) -> tuple[Route, ...]:
        """Give the route."""
        parameters = (
            Parameter("credit", f"Records that may be sent at first; {CREDIT} if not said.", kind="integer"),
            Parameter("encoding", "Of values: auto (text, else base64), base64, or json."),
        )
        answers = {
            101: "A WebSocket from here on.",
            400: "This does not begin a WebSocket; the detail says why.",
            401: "The credentials are not accepted.",
            403: "Pages of this origin may not connect here.",
            426: "This is a WebSocket.",
            429: "More than this user may ask for; see Retry-After.",
            503: "There are as many as there may be; see Retry-After.",
        }
        text = "Follow topics, or read as a member of a group, over a WebSocket."
        return (Route("GET", "/v1/follow", told(self._begin), text, parameters, answers),)

    async def _begin(self, asked: Asked) -> Stream:
        deflate, accept = self._taken(asked)
        credit = asking.whole(asked, "credit", CREDIT, 0, MOST_CREDIT)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        if len(self._open) >= self.here.settings.max_followers:
            raise Problem(503, "Too Many Followers", "try again later", headers={"retry-after": "10"})
        socket = Socket(self, asked, credit, encoding, deflate=deflate)
        try:
            await socket.log_in()
        except Problem as refused:
            if refused.status != 401 or asked.header("authorization"):  # noqa: PLR2004
                raise  # a page cannot set the header, and says it in its first message
        self._open[socket] = None
        headers = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
        if deflate:
            headers["sec-websocket-extensions"] = AGREED
        return Stream(socket.start, 101, headers, receive=socket.receive)

    def _taken(self, asked: Asked) -> tuple[bool, str]:
        """See that this begins a WebSocket; give whether it may be compressed, and what to answer."""
        headers = [(name, value) for name, values in asked.headers.items() for value in values]
        try:
            request = h11.Request(method=asked.method, target=asked.target, headers=headers)
            found = taken(request, self._rules, asked.address)
        except h11.LocalProtocolError:
            raise Problem(400, "Bad Request", "the request is not well formed") from None
        except NotUpgraded as refused:
            raise Problem(refused.status, "No WebSocket", str(refused), headers=refused.headers) from None
        return found.deflate, found.accept

    def forget(self, socket: Socket) -> None:
        """Forget one that is closed."""
        self._open.pop(socket, None)
