"""Telling systemd that the service is ready: one datagram, as sd_notify(3) has it, where systemd has asked for it."""

from __future__ import annotations

import os
import socket

READY = b"READY=1"


def say_ready() -> None:
    """Say it, once, to whoever has asked for it by ``NOTIFY_SOCKET``; nothing that goes wrong with that matters."""
    address = os.environ.pop("NOTIFY_SOCKET", "")  # no program that is started from here has a say in it
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.setblocking(False)
            told.sendto(READY, "\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        return
