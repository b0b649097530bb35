# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""PUBLISH frames of the own ident, compiled: the same that ``wire.Wire.scan`` takes.

The bytes behind the length, ident and channel, are compared with those of the frame before.  Everything else stops the
scan, and is left to ``Wire.next``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.limits cimport INT_MAX
from libc.string cimport memcmp

from brokerkit._heart cimport BROKERKIT_STAMP, MOST, Names, Places

EDITION = 3
STAMP = BROKERKIT_STAMP.decode("ascii")

cdef enum:
    HEAD = 5
    PUBLISH = 3
    MAX_PUBLISH = 5 + 1024 * 1024


cdef class Scanner:
    """What the connections of one listener share: the channels that it has seen lately."""

    cdef Names names

    def __cinit__(self, bytes prefix not None):
        """Take the listener's topic prefix."""
        self.names = Names(prefix)

    def scan(self, Places run not None, bytes chunk not None, Py_ssize_t begin, bytes own not None):
        """Fill the run with the frames of ``own``, an ident as it is spelled; give where the last one ends."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk)
        if size > INT_MAX or begin >= size:
            return begin
        run.begin(chunk)
        try:
            begin = self.walk(run, PyBytes_AS_STRING(chunk), begin, size, own)
        except BaseException:
            run.empty()  # what was found until then has no end
            raise
        run.finish(begin)
        return begin

    cdef Py_ssize_t walk(self, Places run, const char* s, Py_ssize_t pos, Py_ssize_t size, bytes own) except -1:
        cdef const unsigned char* u = <const unsigned char*>s
        cdef const char* ident = PyBytes_AS_STRING(own)
        cdef Py_ssize_t known = PyBytes_GET_SIZE(own), length, at, stop
        cdef const char* address = NULL  # ident and channel of the frame before
        cdef Py_ssize_t addressed = 0
        cdef bytes topic, last = None
        while run.count < MOST and size - pos >= HEAD:
            if u[pos] > 127 or u[pos + 4] != PUBLISH:
                break
            length = (<Py_ssize_t>u[pos] << 24) | (u[pos + 1] << 16) | (u[pos + 2] << 8) | u[pos + 3]
            if length > size - pos or length > MAX_PUBLISH:
                break
            if address == NULL or length < HEAD + addressed or memcmp(s + pos + HEAD, address, addressed) != 0:
                at = pos + HEAD + known
                if pos + length <= at or memcmp(s + pos + HEAD, ident, known) != 0:
                    break
                stop = at + 1 + u[at]
                if stop > pos + length:
                    break
                topic = self.names.find(s + at + 1, stop - at - 1)
                if topic is None:
                    topic = self.names.learn(s + at + 1, stop - at - 1)
                address = s + pos + HEAD
                addressed = stop - pos - HEAD
                if last is None or (topic is not last and topic != last):
                    last = topic
                    run.batch(topic, 0, <int>(stop - pos), False)
            run.at[run.count] = <int>pos
            run.count += 1
            pos += length
        return pos
