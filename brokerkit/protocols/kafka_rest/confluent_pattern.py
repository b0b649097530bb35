"""Topics by a regular expression that a request brings: matched by RE2, which takes linear time whatever it is.

Python's own expressions can be made to run for hours, and with them the whole broker would stand still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.kafka_rest.confluent_errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1024  # characters


def matcher(pattern: str) -> Callable[[str], bool]:
    """Give what says whether a name is one that the whole pattern stands for; raise ``Problem`` 422."""
    try:
        import re2  # in an extra: nobody else needs it
    except ImportError:
        raise refused(422, "topic_pattern needs RE2 on the server: pip install 'brokerkit[kafka]'") from None
    if len(pattern) > LONGEST:
        raise refused(422, f"topic_pattern may have {LONGEST} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled: Any = re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise refused(422, f"topic_pattern is no regular expression: {shown[:200]}") from None
    return lambda name: compiled.fullmatch(name) is not None
