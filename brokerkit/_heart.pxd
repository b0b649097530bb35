# What the compiled scanners of the wires share with the compiled heart.  Whatever changes here, they have to be built
# anew with it: BROKERKIT_STAMP, of which `brokerkit.stamp` tells, holds them to that.

cdef extern from *:
    """
    #ifndef BROKERKIT_STAMP
    #define BROKERKIT_STAMP ""
    #endif
    """
    const char* BROKERKIT_STAMP
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    MOST = 4096  # messages of one run, as in every wire's RUN_LENGTH

cdef struct Cut:
    int first  # the message that a batch begins with
    int skip   # bytes of each of its messages that stand before what is sent on as it is
    int ahead  # bytes that stand before its payload; 0: it is behind the first line
    bint headed

cdef class Places:
    cdef public object sender, name, origin, form
    cdef public bint asking
    cdef int behind  # bytes of a message that stand behind its payload
    cdef int above  # bytes of a topic that are no part of the name in the chunk
    cdef object _chunk
    cdef list _topics, _cuts, _starts
    cdef Py_ssize_t _end
    cdef int count, batches, busy
    cdef int* at
    cdef Cut* cut
    cdef int begin(self, bytes chunk) except -1
    cdef int finish(self, Py_ssize_t end) except -1
    cdef int batch(self, object topic, int skip, int ahead, bint headed) except -1

cdef class Names:
    cdef void** slots
    cdef bytes prefix
    cdef Py_ssize_t above
    cdef bytes find(self, const char* name, Py_ssize_t size)
    cdef bint holds(self, void* found, const char* name, Py_ssize_t size) noexcept
    cdef bytes learn(self, const char* name, Py_ssize_t size)
