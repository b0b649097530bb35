"""Listening on one network interface, whatever addresses it has: SO_BINDTODEVICE.

Twisted makes the socket of a port and binds it in one go, and the device has to be set in between: two ports of one
number on two devices are no conflict only then.  So the endpoints of such a listener are given a reactor that makes
ports of its own.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.tcp import Port

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

MAX_NAME = 15  # bytes of an interface's name, in Linux
OPTION: int | None = getattr(socket, "SO_BINDTODEVICE", None)  # Linux alone has it


class DeviceUnusable(Exception):
    """A socket cannot be bound to a device; the text says why, and what can be done."""

    def __init__(self, device: str, error: OSError) -> None:
        """Take the name of the device, and what the kernel said."""
        super().__init__(f"device {device} cannot be used: {_why(error)}")


def _why(error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return "there is no such network interface, `ip link` lists those that there are"
    if error.errno in {errno.EPERM, errno.EACCES}:
        return "permission denied, give the program CAP_NET_RAW"
    return error.strerror or str(error)


def wrong_device(name: str) -> str:
    """Say what is wrong with the name of a device, empty if it may be one."""
    if OPTION is None:
        return "this system cannot bind to a device: write interface= and an address of it"
    if not 0 < len(name.encode()) <= MAX_NAME or "/" in name or "\0" in name or name.split() != [name]:
        return f"a name has 1 to {MAX_NAME} bytes, and no blank and no slash"
    return ""


class DevicePort(Port):
    """A port of one device."""

    def __init__(self, device: str, *arguments: Any) -> None:  # noqa: ANN401  whatever Twisted's port takes
        """Listen there when started."""
        super().__init__(*arguments)
        self._device = device

    def createInternetSocket(self) -> socket.socket:
        """Give the socket, bound to the device and not yet to an address; raise ``DeviceUnusable``."""
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        try:
            made.setsockopt(socket.SOL_SOCKET, OPTION or 0, self._device.encode())
        except OSError as error:
            made.close()
            raise DeviceUnusable(self._device, error) from None
        return made


class OnDevice:
    """A reactor whose TCP ports listen on one device; everything else is the reactor's."""

    def __init__(self, reactor: Any, device: str) -> None:  # noqa: ANN401  any reactor with sockets
        """Stand before that reactor."""
        self._reactor = reactor
        self._device = device

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a reactor has
        """Give what the reactor has."""
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:  # noqa: ANN401
        """Listen; raise ``DeviceUnusable`` or ``CannotListenError``."""
        made = DevicePort(self._device, port, factory, backlog, interface, self._reactor)
        made.startListening()
        return made
