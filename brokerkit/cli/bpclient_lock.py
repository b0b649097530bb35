"""``bpclient lock NAME -- COMMAND``: run a command while nobody else has the lock.

The lock is a lease.  It is renewed while the command runs, and given back when it has ended.  Where it cannot be
renewed in time the command is stopped before the lease ends: after that, somebody else may have it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import click

from brokerkit.cli.bpclient_errors import Fatal
from brokerkit.cli.bpclient_orphan import with_parent
from brokerkit.cli.bpclient_talk import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from brokerkit.cli.bpclient_options import Session
    from brokerkit.cli.bpclient_talk import Talk

WAIT = 50.0  # seconds that one question for the lock waits
LOOK = 0.05  # seconds between two looks at the command
PAUSE = 1.0  # seconds before another try
CREATED, OK, CONFLICT = 201, 200, 409
NOT_STARTED, NO_COMMAND = 126, 127  # as shells have it
PARTED = 128  # what is added to a signal's number for an exit code
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CommandLine(click.Command):
    """A command that takes another one: behind ``--``, or behind its own name's argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the options of the other command alone."""
        ctx.allow_interspersed_args = "--" in args
        return super().parse_args(ctx, args)


@click.command(cls=CommandLine)
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--ttl", type=click.FloatRange(min=2, max=86400), default=15.0, show_default=True, help="Seconds of a lease."
)
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait for the lock; for ever if not said.")
@click.option(
    "--grace", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Seconds from TERM to KILL."
)
@click.pass_obj
def lock(
    session: Session, name: str, command: tuple[str, ...], ttl: float, timeout: float | None, grace: float
) -> None:
    """Run COMMAND while this process has the lock NAME; its exit code is this one's.

    If the lock is lost, COMMAND is stopped, and the exit code is 1.  COMMAND finds the lock's token in
    BPBROKER_LOCK_TOKEN: it grows from holder to holder.
    """
    talk = session.talk()
    lease = _take(talk, name, ttl, timeout)
    try:
        code = _run(command, lease, min(grace, ttl / 4))
    finally:
        lease.release()
    raise SystemExit(code)


class Lease:
    """A lock that is held; times are those of ``time.monotonic``.

    A thread renews it, so that a broker that answers too slowly cannot keep the command from being stopped in time.
    """

    def __init__(self, talk: Talk, name: str, token: int, ttl: float) -> None:
        """Take what the broker said; how long its answer took is not known, so the lease is renewed at once."""
        self._talk = talk
        self._name = name
        self._ttl = ttl
        self._over = Event()
        self._thread = Thread(target=self._keep, daemon=True)
        self.token = token
        self.ends = time.monotonic() + ttl
        self.lost = ""

    def start(self) -> None:
        """Begin to renew it."""
        self._thread.start()

    def holds(self, margin: float) -> bool:
        """Say whether it is held for so many seconds more."""
        if not self.lost and time.monotonic() >= self.ends - margin:
            self.lost = "it could not be renewed in time"
        return not self.lost

    def _keep(self) -> None:
        pause = 0.0
        while not self._over.wait(pause) and not self.lost:
            pause = self._renew()

    def _renew(self) -> float:
        """Renew it; give the seconds until the next time."""
        asked = time.monotonic()
        try:
            reply = self._ask("POST", "renew")
        except Fatal as error:
            click.echo(f"bpclient: the lock {self._name} is not renewed yet: {error}", err=True)
            return PAUSE
        if reply.status == OK:
            self.ends = asked + self._ttl
        elif reply.status < 500:  # noqa: PLR2004  what the broker cannot do now, it may soon
            self.lost = str(reply.message())
        else:
            return PAUSE
        return self._ttl / 3

    def _ask(self, method: str, *more: str) -> Any:  # noqa: ANN401  a Reply
        self._talk.timeout = max(1.0, self._ttl / 3)
        return self._talk.modern(method, ("lock", self._name, *more), headers={"if-match": f'"{self.token}"'})

    def release(self) -> None:
        """Give it back; where that does not work, it ends by itself."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(self._ttl)
        if not self._thread.is_alive():
            with suppress(Fatal):
                self._ask("DELETE")
            self._talk.close()


def _take(talk: Talk, name: str, ttl: float, timeout: float | None) -> Lease:
    """Wait for the lock; raise ``Fatal``."""
    until = None if timeout is None else time.monotonic() + timeout
    holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
    while True:
        wait = WAIT if until is None else max(0.0, min(WAIT, until - time.monotonic()))
        query = {"ttl": ttl, "wait": round(wait, 3)}
        reply = talk.modern("PUT", ("lock", name), query, body=holder, longer=wait)
        if reply.status == CREATED:
            return Lease(talk, name, int(reply.json()["token"]), ttl)
        if reply.status != CONFLICT:
            raise refusal(reply)
        if until is not None and time.monotonic() >= until:
            raise Fatal(f"the lock {name} is held by another: {json.dumps(reply.json().get('holder'))}")


class Program:
    """The command, in a session of its own unless it reads from a terminal, which it could not do there."""

    def __init__(self, command: Sequence[str], token: int) -> None:
        """Start it; raise ``Fatal`` if that cannot be."""
        self._alone = not sys.stdin.isatty()
        environment = {**os.environ, "BPBROKER_LOCK_TOKEN": str(token)}
        try:
            self._program = subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                start_new_session=self._alone,
                preexec_fn=with_parent(),  # noqa: PLW1509  there is no other thread yet
            )
        except OSError as error:
            code = NOT_STARTED if isinstance(error, PermissionError) else NO_COMMAND
            click.echo(f"Fatal error: {command[0]}: {error.strerror}", err=True)
            raise SystemExit(code) from None

    def wait(self, seconds: float | None = None) -> int | None:
        """Give its exit code, as a shell does, or ``None`` if it still runs after so many seconds."""
        try:
            code = self._program.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else PARTED - code

    def signal(self, number: int) -> None:
        """Send it, and what it has started, a signal."""
        with suppress(OSError):
            if self._alone:
                os.killpg(self._program.pid, number)
            else:
                self._program.send_signal(number)

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """Send a signal on that has come here; what comes from a terminal, it has got itself."""
        if self._alone or number != signal.SIGINT:
            self.signal(number)

    def stop(self, grace: float) -> None:
        """End it."""
        self.signal(signal.SIGTERM)
        self.wait(grace)
        self.signal(signal.SIGKILL)
        self.wait()


def _run(command: Sequence[str], lease: Lease, grace: float) -> int:
    """Run the command as long as the lease is held; give its exit code."""
    early: list[int] = []  # signals that came before there was anything to pass them on to
    former = {number: signal.signal(number, lambda number, _: early.append(number)) for number in STOPPING}
    try:
        program = Program(command, lease.token)
        for number in STOPPING:
            signal.signal(number, program.pass_on)
        for missed in early:
            program.signal(missed)
        lease.start()
        while (code := program.wait(LOOK)) is None:
            if not lease.holds(grace):
                click.echo(f"Fatal error: the lock is lost: {lease.lost}", err=True)
                program.stop(grace)
                return 1
        return code
    finally:
        for number, what in former.items():
            signal.signal(number, what)
