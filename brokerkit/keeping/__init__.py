"""The way into the log: of what is published to a kept topic by any protocol, and of what requests produce."""

from __future__ import annotations

from brokerkit.keeping.service import Keeping

__all__ = ["Keeping"]
