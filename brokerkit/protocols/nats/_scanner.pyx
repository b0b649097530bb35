# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Well-spelled PUB and HPUB, compiled: the same that ``wire.Wire.scan`` takes, found without making an object for each.

A control line that is the same, byte for byte, as that of the message before means the same; any other is read here.
The subject becomes the topic by ``Names``, where it has been found in order once.  Everything else stops the scan, and
is left to ``Wire.next``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.limits cimport INT_MAX
from libc.string cimport memcmp

from brokerkit._heart cimport BROKERKIT_STAMP, MOST, Names, Places

EDITION = 3
STAMP = BROKERKIT_STAMP.decode("ascii")

cdef enum:
    DIGITS = 9


cdef class Scanner:
    """What the connections of one listener share: its limits, and the subjects that it has seen lately."""

    cdef Names names
    cdef Py_ssize_t max_payload, longest
    cdef object plain, closed

    def __cinit__(self, bytes prefix not None, max_payload, max_line, plain, tuple closed not None):
        """Take the listener's; ``plain(subject)`` says whether a subject is in order, ``closed`` are replies' beginnings."""
        self.names = Names(prefix)
        self.max_payload = min(max_payload, INT_MAX // 2)
        self.longest = min(max_line, INT_MAX // 2) + 3
        self.plain = plain
        self.closed = closed

    def scan(self, Places run not None, bytes chunk not None, Py_ssize_t begin, bint headers):
        """Fill the run with the publishes that stand in the chunk from ``begin`` on; give where the last one ends."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk)
        if size > INT_MAX or begin >= size:
            return begin
        run.begin(chunk)
        run.above = <int>self.names.above
        run.behind = 2
        try:
            begin = self.walk(run, PyBytes_AS_STRING(chunk), begin, size, headers)
        except BaseException:
            run.empty()  # what was found until then has no end
            raise
        run.finish(begin)
        return begin

    cdef Py_ssize_t walk(self, Places run, const char* s, Py_ssize_t pos, Py_ssize_t size, bint headers) except -1:
        cdef const char* line = NULL  # the last control line, and its length with CRLF
        cdef Py_ssize_t length = 0, at, end, payload = 0, subject, stop, second, third, fourth, eol, head = 0
        cdef int words, lines = 0
        cdef bint headed = False, was_headed = False
        cdef bytes topic, last = None
        while run.count < MOST:
            if line == NULL or size - pos < length or memcmp(s + pos, line, length) != 0:
                # one word after the other: operation, subject, perhaps a reply, one size or two
                at = pos
                if size - at < 5:
                    break
                headed = s[at] == c'H'
                if headed:
                    if not headers:
                        break
                    at += 1
                if not (s[at] == c'P' and s[at + 1] == c'U' and s[at + 2] == c'B' and s[at + 3] == c' '):
                    break
                subject = at + 4
                end = min(size, pos + self.longest + 2)
                stop = _word(s, subject, end)
                if stop == subject or stop >= end or s[stop] != c' ':
                    break
                words = 1
                second = third = fourth = eol = 0
                at = stop
                while at < end and s[at] == c' ' and words < 5:
                    at += 1
                    if words == 1:
                        second = at
                    elif words == 2:
                        third = at
                    elif words == 3:
                        fourth = at
                    words += 1
                    eol = _word(s, at, end)
                    if eol == at:
                        words = 9
                    at = eol
                if at + 1 >= end or s[at] != c'\r' or s[at + 1] != c'\n' or at - pos > self.longest:
                    break
                head = 0
                if not headed:
                    if words == 2:
                        payload = _number(s, second, eol)
                    elif words == 3:
                        if self.is_closed(s, second, third - 1):
                            break
                        payload = _number(s, third, eol)
                    else:
                        break
                else:
                    if words == 3:
                        head = _number(s, second, third - 1)
                        payload = _number(s, third, eol)
                    elif words == 4:
                        if self.is_closed(s, second, third - 1):
                            break
                        head = _number(s, third, fourth - 1)
                        payload = _number(s, fourth, eol)
                    else:
                        break
                    if head <= 0 or head > payload:
                        break
                if payload < 0 or payload > self.max_payload:
                    break
                topic = self.names.find(s + subject, stop - subject)
                if topic is None:
                    if not _is_plain(s, subject, stop) and not self.plain(s[subject:stop]):
                        break
                    topic = self.names.learn(s + subject, stop - subject)
                line = s + pos
                length = eol + 2 - pos
                lines += 1
                if words == (4 if headed else 3):
                    run.asking = True
                if last is None or (topic is not last and topic != last) or headed != was_headed:
                    last = topic
                    was_headed = headed
                    run.batch(topic, <int>(stop + 1 - pos), 0, headed)
            end = pos + length + payload
            if end + 2 > size or s[end] != c'\r' or s[end + 1] != c'\n':
                break
            run.at[run.count] = <int>pos
            run.count += 1
            pos = end + 2
        run.lines = lines
        return pos

    cdef bint is_closed(self, const char* s, Py_ssize_t start, Py_ssize_t stop) except -1:
        """Say whether only servers make such a reply subject."""
        if s[start] != c'_' and s[start] != c'$':
            return False
        return (<bytes>s[start:stop]).startswith(self.closed)


cdef bint _is_plain(const char* s, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Say whether a subject needs no closer look: no empty token, and no beginning that servers keep for themselves."""
    cdef Py_ssize_t i
    if s[start] == c'_' and s[start + 1] == c'G' or s[start] == c'$' or s[start] == c'.' or s[stop - 1] == c'.':
        return False
    for i in range(start + 1, stop):
        if s[i] == c'.' and s[i - 1] == c'.':
            return False
    return True


cdef inline Py_ssize_t _word(const char* s, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Give where a word ends that begins at ``at``."""
    cdef char c
    while at < size:
        c = s[at]
        if c == c' ' or c == c'\r' or c == c'\n' or c == c'\t' or c == c'\f':
            break
        at += 1
    return at


cdef inline Py_ssize_t _number(const char* s, Py_ssize_t at, Py_ssize_t stop) noexcept nogil:
    """Read a size; -1 if it is none."""
    cdef Py_ssize_t number = 0
    if stop == at or stop - at > DIGITS:
        return -1
    while at < stop:
        if s[at] < c'0' or s[at] > c'9':
            return -1
        number = number * 10 + (s[at] - c'0')
        at += 1
    return number
