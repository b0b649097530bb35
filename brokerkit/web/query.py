"""Reading the query of a URL by hand: the original of one API also parts it at semicolons."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from brokerkit.web.answer import Problem

MOST = 1000  # parameters


def parse_query(query: bytes, *, semicolons: bool = False, blank: bool = True) -> dict[str, str]:
    """Give the parameters, decoded; of several with one name, the last.

    ``semicolons`` part parameters as ``&`` does; without ``blank``, those that are empty are left out.  Raises
    ``Problem`` 400 for what is no UTF-8, and for more than 1000 of them.
    """
    if not query:
        return {}
    if semicolons:
        query = query.replace(b";", b"&")
    pairs = query.split(b"&", MOST)
    if len(pairs) > MOST:
        raise Problem(400, "Too many parameters", f"at most {MOST} are read")
    found: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        if key and (value or blank):
            found[_decoded(key)] = _decoded(value)
    return found


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Problem(400, "Not UTF-8", "a parameter is no UTF-8") from None
