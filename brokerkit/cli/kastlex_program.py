"""A broker run as KastleX is: one line on standard output when it is ready, the log on standard error.

It is an ordinary broker otherwise: other commands find it by its data directory, and SIGHUP has it read its files anew.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel, globalLogBeginner

from brokerkit.app import Program, make_broker
from brokerkit.checkers.kastlex import KastlexUsers
from brokerkit.cli.kastlex_environment import PREFIX, Told
from brokerkit.cli.logs import information
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.keep import MOST_PARTITIONS
from brokerkit.log.words import LogError, Topic, TopicExists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.broker import Broker
    from brokerkit.config import Config

log = Logger()


def topic_of(text: str) -> Topic:
    """Give the topic that NAME or NAME:PARTITIONS means; raise ``ConfigError``."""
    name, colon, number = text.partition(":")
    if not name or (colon and not (number.isascii() and number.isdigit() and 0 < int(number) <= MOST_PARTITIONS)):
        raise ConfigError("command line", "--topic", text, f"NAME or NAME:PARTITIONS, of which 1 to {MOST_PARTITIONS}")
    return Topic("", name.encode(errors="surrogateescape"), partitions=int(number or 1))


def serve(config: Config, told: Told, topics: Sequence[Topic]) -> int:
    """Run until it is told to stop; give the exit code.  Raises ``OperatorError`` where it cannot begin."""
    from twisted.internet import reactor

    users = users_of(told, reactor)
    broker = make_broker(config, reactor, [users])
    globalLogBeginner.beginLoggingTo([information()], redirectStandardIO=False)
    program = Program(broker, config)
    program.privilegedStartService()
    program.startService()
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", program.stopService)
    running.callWhenRunning(lambda: Deferred.fromCoroutine(_begin(broker, topics)))
    running.run()
    return 0


def users_of(told: Told, reactor: Any) -> KastlexUsers:  # noqa: ANN401  any reactor
    """Give the users of both files; raise ``OperatorError`` that names the variable where one cannot be used."""
    try:
        return KastlexUsers(told.passwd, told.permissions, reactor)
    except ConfigError as error:
        variables = f"{PREFIX}PASSWD_FILE_PATH and {PREFIX}PERMISSIONS_FILE_PATH say where the files are"
        raise OperatorError(f"{error}; {variables}") from None


async def _begin(broker: Broker, topics: Sequence[Topic]) -> None:
    """Make the topics that are not there, and say that it is ready."""
    for topic in topics:
        try:
            await broker.log.create(topic)
        except TopicExists:
            continue
        except LogError as error:
            shown = topic.name.decode(errors="replace")
            log.emit(LogLevel.error, "{topic}: the topic cannot be made: {error}", topic=shown, error=str(error))
    places = [f"{'https' if one.secure else 'http'}://{one.address}" for one in broker.listening]
    sys.stdout.write(f"brokerkit kastlex is ready at {' and '.join(places)}\n")
    sys.stdout.flush()
