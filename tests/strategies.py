"""What hypothesis makes for the tests of the heart: names and patterns of few and telling tokens, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from brokerkit.run import Message

_words = st.sampled_from([b"a", b"b", b"cc"])
_odd_tokens = st.sampled_from([b"a", b"b", b"cc", b"*", b">", b"", b"a*", b">>", b"\xff\n"])


def _dotted(tokens: st.SearchStrategy[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    return st.lists(tokens, min_size=1, max_size=most).map(b".".join)


names = _dotted(_words)
"""Topics as they should be."""

odd_names = _dotted(_odd_tokens) | st.binary(max_size=5)
"""Any bytes that may be a literal name: empty tokens, wildcards, binary."""

patterns = st.builds(
    lambda tokens, rest: b".".join([*tokens, b">"][: len(tokens) + rest]),
    st.lists(_words | st.just(b"*"), min_size=1, max_size=3),
    st.booleans(),
) | st.just(b">")
"""Valid patterns, with and without wildcards."""

odd_patterns = patterns | _dotted(_odd_tokens)
"""Also those that nobody should subscribe to."""

messages = st.builds(
    Message,
    topic=names,
    payload=st.binary(max_size=8),
    reply=st.just(b"") | names,
    headers=st.sampled_from([b"", b"NATS/1.0\r\n\r\n"]),
)
"""Single messages, some with reply topics, some with headers."""
