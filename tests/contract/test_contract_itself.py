"""The contract can fail: protocols that are broken on purpose do not pass it, and the example, which is not, does.

The broken ones are the example of ``contrib/``, each with one thing wrong.
"""

from __future__ import annotations

import sys
import unittest
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.errors import OverAllowance
from brokerkit.framing import Rendering
from brokerkit.listener import Listener
from brokerkit.run import Message, Spoken
from brokerkit.testing import ProtocolContract
from brokerkit.testing.memory import streams

if TYPE_CHECKING:
    from brokerkit.broker import Broker
    from brokerkit.config import Listen
    from brokerkit.run import Batch

EXAMPLE = Path(__file__).parents[2] / "contrib" / "example_protocol"


def _example(module: str) -> Any:
    """Import a module of the example from where it lies, without making its plugin known to all other tests."""
    if "brokerkit_line" not in sys.modules:
        spec = spec_from_file_location("brokerkit_line", EXAMPLE / "brokerkit_line" / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["brokerkit_line"] = package = module_from_spec(spec)
        spec.loader.exec_module(package)
    return import_module(f"brokerkit_line.{module}")


session, wire, LineCaller = _example("session"), _example("wire"), _example("caller").LineCaller
LineSession, Wire = session.LineSession, wire.Wire


class Plugin:
    """A protocol plugin, of classes instead of their names."""

    name = "line"
    description = "lines"
    default = None
    caller = staticmethod(LineCaller)

    def __init__(self, session_class: type) -> None:
        """Offer that session."""
        self._session = session_class

    def settings(self) -> Any:
        """Give its settings."""
        return self._session.settings  # type: ignore[attr-defined]

    def service(self, broker: Broker, listen: Listen) -> Listener:
        """Give its listener."""
        return Listener(broker, listen, self._session, listen.settings or self.settings()())


def _contract(session_class: type) -> type[unittest.TestCase]:
    """Give the contract for one session class."""
    given = {
        "protocol": "line",
        "plugins": {**streams(), "line": Plugin(session_class)},
        "nonsense": (b"pub x y\n", b"sub\n", b"\n"),
        "endless": b"pub ",
        "hostile": (b"a 2\nhimsg forged",),
    }
    return type(session_class.__name__, (ProtocolContract, unittest.TestCase), given)


def _run(suite: unittest.TestSuite) -> dict[str, str]:
    """Run tests; give the traceback of each that did not pass, by its name."""
    result = unittest.TestResult()
    suite.run(result)
    return {test.id().rpartition(".")[2]: text for test, text in result.failures + result.errors}


def test_the_example_passes() -> None:
    """The example has nothing wrong."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(_contract(LineSession))
    assert suite.countTestCases() > 35
    assert _run(suite) == {}


# -- broken wires ---------------------------------------------------------------------------------------------------


class LosesTheRest(Wire):
    """Forgets what is not a whole command at the end of a chunk."""

    def settle(self) -> None:
        """Lose it."""
        self.drop()


class KeepsEverything(Wire):
    """Remembers every chunk."""

    def __init__(self) -> None:
        """Begin a collection."""
        super().__init__()
        self.kept: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Collect."""
        self.kept.append(data)
        super().feed(data)


class WaitsForever(Wire):
    """Has no limit for a line."""

    def upto(self, mark: bytes, limit: int) -> bytes | None:  # noqa: ARG002
        """Look for the end however far it is."""
        return super().upto(mark, sys.maxsize // 2)


class TakesWhatIsThere(Wire):
    """Does not wait for the whole payload."""

    def lacks(self, size: int) -> bool:  # noqa: ARG002
        """Say that all is there."""
        return False


class Strips(Wire):
    """Thinks that payloads are text."""

    def next(self) -> Any:
        """Tidy a payload up."""
        item = super().next()
        return item._replace(payload=item.payload.strip()) if isinstance(item, Message) else item


class Stumbles(Wire):
    """Does not expect anything unexpected."""

    def next(self) -> Any:
        """Take for granted that the last word of a line is a number or a name."""
        line = self.upto(b"\n", wire.MAX_LINE)
        if line is not None and line.startswith(b"pub"):
            int(line.split(b" ")[2])
        return super().next()


# -- broken sessions ------------------------------------------------------------------------------------------------


class ForgetsTheLogin(LineSession):
    """Serves whoever connects."""

    def greet(self) -> None:
        """Let everybody in."""
        self.client = self.listener.broker.client("anybody")


class StumblesBeforeTheLogin(LineSession):
    """Does not ask whether there is a client already."""

    def say(self, message: Message) -> None:
        """Publish."""
        self.publish(Spoken([message]))


class BelievesEverybody(LineSession):
    """Takes the name for the proof of it."""

    def login(self, credentials: Any) -> None:
        """Let that name in."""
        self.client = self.listener.broker.client(credentials.username.decode())
        self.welcome()


class Impatient(LineSession):
    """Thinks that a login is decided when it has been asked for."""

    def login(self, credentials: Any) -> None:
        """Use the client at once."""
        super().login(credentials)
        assert self.client is not None or self._closing


class GoesAroundGrants(LineSession):
    """Publishes by a client that may do everything."""

    def say(self, message: Message) -> None:
        """Publish in one's own name but by another's right."""
        self.logged_in()
        self.listener.broker.client("anybody").publish(message.topic, message.payload)


class WritesByItself(LineSession):
    """Goes around the outbox, and leaves its subscriptions behind."""

    def on_subscribe(self, subscribe: Any) -> None:
        """Subscribe by a client that nobody owns, and write to the transport whatever it takes."""
        self.logged_in()

        def receive(batch: Batch) -> None:
            self.transport.write(session.render(batch, b""))  # type: ignore[union-attr]

        self.listener.broker.client("anybody").subscribe(subscribe.pattern, receive)


def _careless(batch: Batch, prefix: bytes) -> bytes:  # noqa: ARG001
    return b"".join(b"msg %b %d\n%b" % (batch.topic, len(m.payload), m.payload) for m in batch)


class SpellsCarelessly(LineSession):
    """Puts topics into frames as they are."""

    def on_subscribe(self, subscribe: Any) -> None:
        """Subscribe with a framing that looks at nothing, and without end."""
        self.logged_in().subscribe(subscribe.pattern, framing=Rendering(_careless))


class HoldsBack(LineSession):
    """Stops at what is refused, until something else comes in."""

    def _obey(self, item: object) -> None:
        getattr(self, self.commands[item.__class__])(item)


class TakesAnOutageForARefusal(LineSession):
    """Does not tell what it does not know from what is wrong."""

    def undecided(self) -> Any:
        """Say that the secret is wrong."""
        return self.unwelcome(None)


class Stays(LineSession):
    """Does not hear that its user may no longer be here."""

    def _sent_away(self, why: str) -> None:
        pass


class HangsUpOnTheFast(LineSession):
    """Does not wait."""

    def _slow_down(self, meter: Any) -> None:
        if meter.wait(self.listener.clock.seconds()) > 0:
            self.close()


class SwallowsTheLarge(LineSession):
    """Says nothing of a payload that is too large."""

    def refuse(self, error: Any) -> None:
        """Answer other errors."""
        if not isinstance(error, OverAllowance):
            super().refuse(error)


def _with(broken: type) -> type:
    """Give a session that has that wire."""
    return type(broken.__name__, (LineSession,), {"make_wire": lambda _: broken()})


BROKEN = [
    (_with(LosesTheRest), "test_any_chunking"),
    (_with(LosesTheRest), "test_login_in_any_chunking"),
    (_with(KeepsEverything), "test_nothing_is_kept"),
    (_with(WaitsForever), "test_input_without_end"),
    (_with(TakesWhatIsThere), "test_any_chunking"),
    (_with(TakesWhatIsThere), "test_hang_up_in_mid_frame"),
    (_with(Strips), "test_payloads_are_untouched"),
    (_with(Strips), "test_any_chunking"),
    (_with(Stumbles), "test_nonsense"),
    (_with(Stumbles), "test_mutations"),
    (ForgetsTheLogin, "test_publish_before_login"),
    (ForgetsTheLogin, "test_subscribe_before_login"),
    (StumblesBeforeTheLogin, "test_publish_before_login"),
    (StumblesBeforeTheLogin, "test_topic_prefix"),
    (BelievesEverybody, "test_wrong_secret"),
    (BelievesEverybody, "test_unknown_user"),
    (BelievesEverybody, "test_login_refused_later"),
    (Impatient, "test_login_decided_later"),
    (GoesAroundGrants, "test_may_not_publish"),
    (GoesAroundGrants, "test_grants_are_for_names"),
    (GoesAroundGrants, "test_counts"),
    (WritesByItself, "test_may_not_subscribe"),
    (WritesByItself, "test_stalled_reader"),
    (WritesByItself, "test_hang_up_removes_subscriptions"),
    (WritesByItself, "test_no_way_out_of_a_prefix"),
    (SpellsCarelessly, "test_nothing_is_forged"),
    (SpellsCarelessly, "test_too_many_subscriptions"),
    (SpellsCarelessly, "test_topic_prefix"),
    (TakesAnOutageForARefusal, "test_an_outage_is_no_refusal"),
    (Stays, "test_revoked"),
    (Stays, "test_kicked"),
    (BelievesEverybody, "test_an_outage_is_no_refusal"),
    (BelievesEverybody, "test_revoked"),
    (BelievesEverybody, "test_too_many_connections_of_a_user"),
    (WritesByItself, "test_narrowed"),
    (GoesAroundGrants, "test_narrowed"),
    (GoesAroundGrants, "test_too_fast"),
    (GoesAroundGrants, "test_payload_over_the_users_limit"),
    (HangsUpOnTheFast, "test_too_fast"),
    (SwallowsTheLarge, "test_payload_over_the_users_limit"),
    (HoldsBack, "test_what_is_refused_holds_nothing_back"),
]


@pytest.mark.parametrize(("broken", "test"), BROKEN, ids=lambda part: getattr(part, "__name__", part))
def test_a_broken_one_fails(broken: type, test: str) -> None:
    """Whoever makes this mistake is told so by that test."""
    assert test in _run(unittest.TestSuite([_contract(broken)(test)]))
