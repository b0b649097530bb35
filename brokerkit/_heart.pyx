# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The message path, compiled: places in a chunk go in, bytes go into blocks.

A scanner fills a run with offsets (``Places``).  ``deliver`` walks it batch by batch: one look-up in the gate's dict for
permission and route, as in the pure code; then, for each head of the route, one reservation in each outbox and two
copies for each message: the head, and what stands in the chunk behind the sender's own part.  Nothing else is made.

What this takes is the plain case alone: messages of a client's that stand in a chunk, a route without mappings or
imports, subscribers by framings that send the run's messages as they stand (``form``), queue groups of such members.
Framings and functions beside them get a ``Batch``, as ever.  All else is handed, a whole batch at a time, to
``brokerkit.deliver``: that is the definition, and wherever the two could differ, this one must give way to it.

Memory: whatever is pointed to is owned by an object that the same function holds.  A chunk is a ``bytes`` and is held
while it is walked.  A block is written to by one pile only; when it is handed out it is never written to again, and its
memory goes back into the pool when the last one has let go of it, the kernel's caller included.  A run whose places are
walked is ``busy``: what Python code does to it meanwhile frees nothing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.dict cimport PyDict_GetItemWithError as PyDict_GetItem
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from array import array
from os import urandom

EDITION = 3
STAMP = BROKERKIT_STAMP.decode("ascii")

cdef enum:
    SMALL = 16384     # bytes, as in brokerkit.pile
    BLOCK = 131072
    CRUMB = 2048      # bytes of the first block of a pile: most turns put one frame there
    LUMP = 16384      # of one that begins with more: one message for many must not cost each of them a whole block
    ENOUGH = 49152    # bytes that are written without waiting for the end of the turn, while they are in the caches
    SPARE = 64        # blocks of a size that are kept for later
    COLOURS = 8192    # bytes that blocks begin apart: all at one distance, they would share few places in the caches
    REMEMBERED = 4096 # names, a power of two
    LONGEST = 512     # bytes of a name that is remembered

cdef object slow = None    # brokerkit.deliver, when first needed
cdef object kept = None    # brokerkit.holding, when there is something to take
cdef object CLIENT = None  # Origin.CLIENT
cdef object SERVICE = None
cdef unsigned long calls = 0  # of Python code that may have changed anything, the router's generation for example


cdef inline void note_call() noexcept nogil:
    global calls
    calls += 1


cdef int wake() except -1:
    """Find the pure code, which imports this."""
    global slow, CLIENT, SERVICE
    if slow is None:
        from brokerkit import deliver as module
        from brokerkit.run import Origin
        CLIENT = Origin.CLIENT
        SERVICE = Origin.SERVICE
        slow = module
    return 0


# -- places ------------------------------------------------------------------------------------------------------------

cdef int* spare_at = NULL  # one of each is kept: a run gives its arrays back when it is cleared
cdef Cut* spare_cut = NULL


cdef class Places:
    """The compiled twin of ``brokerkit.fields.Places``.

    It is either filled by a compiled scanner (``count`` is not 0) or, as lists, by Python code.  Lists of what a scanner
    has found are made when somebody asks for them.
    """

    def __cinit__(self, *_, **__):
        self._chunk = b""
        self.name = b""

    def __init__(self):
        self.form = None
        self.asking = False
        self._chunk = b""
        self._end = 0
        self._topics = []
        self._cuts = self._starts = None

    def __dealloc__(self):
        free(self.at)
        free(self.cut)

    cdef int begin(self, bytes chunk) except -1:
        """Take hold of a chunk, and of room for what will be found in it."""
        global spare_at, spare_cut
        if self.busy:
            raise RuntimeError("a run is filled while it is delivered")
        self.count = self.batches = 0
        self._topics = []
        self._cuts = self._starts = None
        if self.at == NULL:
            self.at, spare_at = spare_at, NULL
            if self.at == NULL:
                self.at = <int*>malloc(MOST * sizeof(int))
        if self.cut == NULL:
            self.cut, spare_cut = spare_cut, NULL
            if self.cut == NULL:
                self.cut = <Cut*>malloc(MOST * sizeof(Cut))
        if self.at == NULL or self.cut == NULL:
            raise MemoryError
        self._chunk = chunk
        return 0

    cdef int batch(self, object topic, int skip, int ahead, bint headed) except -1:
        """Begin a batch with the next message; the caller sees to it that there is room."""
        cdef Cut* cut = &self.cut[self.batches]
        cut.first = self.count
        cut.skip = skip
        cut.ahead = ahead
        cut.headed = headed
        PyList_Append(self._topics, topic)
        self.batches += 1
        return 0

    cdef int finish(self, Py_ssize_t end) except -1:
        """Take note of where the last message ends; a batch that was begun for one that is not all there is dropped."""
        self._end = end
        if self.batches and self.cut[self.batches - 1].first == self.count:
            self.batches -= 1
            self._topics.pop()
        if not self.count:
            self.empty()
        return 0

    def __len__(self):
        return self.count if self.count else 0 if self._starts is None else len(self._starts)

    def ending(self, Py_ssize_t index):
        if self.count:
            if not 0 <= index < self.count:
                raise IndexError(index)
            return self.at[index + 1] if index + 1 < self.count else self._end
        return self.starts[index + 1] if index + 1 < len(self.starts) else self._end

    def empty(self):
        global spare_at, spare_cut
        self.count = self.batches = 0
        self._chunk = b""
        self._topics = []
        self._cuts = self._starts = None
        if self.busy:
            return
        if spare_at == NULL:
            spare_at, self.at = self.at, NULL
        if spare_cut == NULL:
            spare_cut, self.cut = self.cut, NULL

    @property
    def chunk(self):
        return self._chunk

    @chunk.setter
    def chunk(self, chunk):
        if self.count:
            raise RuntimeError("the places of a run are in the chunk that it has")
        self._chunk = chunk

    @property
    def end(self):
        return self._end

    @end.setter
    def end(self, Py_ssize_t end):
        if self.count:
            raise RuntimeError("a run ends where its last message does")
        self._end = end

    @property
    def topics(self):
        return self._topics

    @property
    def starts(self):
        cdef int i
        if self._starts is None:
            self._starts = [self.at[i] for i in range(self.count)]
        return self._starts

    @property
    def cuts(self):
        cdef int i
        if self._cuts is None:
            self._cuts = [self.cut[i].first for i in range(self.batches)]
        return self._cuts


cdef class Names:
    """The topics that a listener has seen lately, so that the same name is the same object, with its hash in it.

    Each name has two places, which are a matter of its bytes, and a new name for them takes that of the older one: so it
    is bounded, and a peer that looks for names which collide gains nothing by it.
    """

    def __cinit__(self, bytes prefix):
        self.prefix = prefix + b"." if prefix else b""
        self.above = PyBytes_GET_SIZE(self.prefix)
        self.slots = <void**>calloc(REMEMBERED, sizeof(void*))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int i
        if self.slots != NULL:
            for i in range(REMEMBERED):
                if self.slots[i] != NULL:
                    Py_DECREF(<object>self.slots[i])
            free(self.slots)

    cdef bytes find(self, const char* name, Py_ssize_t size):
        """Give the topic of a name, ``None`` if it is not remembered."""
        cdef void** place = self.slots + _place(name, size)
        if self.holds(place[0], name, size):
            return <bytes>place[0]
        if self.holds(place[1], name, size):
            return <bytes>place[1]
        return None

    cdef bint holds(self, void* found, const char* name, Py_ssize_t size) noexcept:
        return (
            found != NULL
            and PyBytes_GET_SIZE(<object>found) == self.above + size
            and memcmp(PyBytes_AS_STRING(<object>found) + self.above, name, size) == 0
        )

    cdef bytes learn(self, const char* name, Py_ssize_t size):
        """Make the topic of a name, and remember it unless it is very long."""
        cdef bytes topic = self.prefix + PyBytes_FromStringAndSize(name, size)
        cdef void** place
        cdef void* former
        if size <= LONGEST:
            place = self.slots + _place(name, size)
            former = place[1]
            place[1] = place[0]
            Py_INCREF(topic)
            place[0] = <void*>topic
            if former != NULL:
                Py_DECREF(<object>former)
        return topic


cdef inline unsigned int _place(const char* name, Py_ssize_t size) noexcept nogil:
    cdef uint64_t mixed = <uint64_t>size
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, name, 8)
        mixed = _mix(mixed ^ word)
        name += 8
        size -= 8
    if size:
        word = 0
        memcpy(&word, name, size)
        mixed = _mix(mixed ^ word)
    return <unsigned int>(mixed >> 20) & (REMEMBERED - 2)


cdef inline uint64_t _mix(uint64_t word) noexcept nogil:
    """Have each bit change many others."""
    word *= <uint64_t>0x1E3779B97F4A7C15
    word ^= word >> 32
    word *= <uint64_t>0x7F51AFD7ED558CCD
    return word ^ (word >> 29)


# -- blocks and piles --------------------------------------------------------------------------------------------------

cdef char* crumbs[SPARE]
cdef char* lumps[SPARE]
cdef char* blocks[SPARE]
cdef int crumb_count = 0
cdef int lump_count = 0
cdef int block_count = 0
cdef int colour = 0


cdef class Block:
    """Memory that one pile fills; whoever is given it reads it as a buffer, and nobody writes to it any more."""

    cdef char* memory
    cdef char* data
    cdef Py_ssize_t size
    cdef readonly Py_ssize_t room  # bytes, used or not

    def __dealloc__(self):
        global crumb_count, lump_count, block_count
        if self.memory == NULL:
            return
        if self.room == CRUMB and crumb_count < SPARE:
            crumbs[crumb_count] = self.memory
            crumb_count += 1
        elif self.room == LUMP and lump_count < SPARE:
            lumps[lump_count] = self.memory
            lump_count += 1
        elif self.room == BLOCK and block_count < SPARE:
            blocks[block_count] = self.memory
            block_count += 1
        else:
            free(self.memory)

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 1, flags)


cdef Block _block(Py_ssize_t size):
    """Give an empty block with room for so many bytes."""
    global crumb_count, lump_count, block_count, colour
    cdef Block block = Block.__new__(Block)
    if size <= CRUMB:
        block.room = CRUMB
        if crumb_count:
            crumb_count -= 1
            block.memory = crumbs[crumb_count]
    elif size <= LUMP:
        block.room = LUMP
        if lump_count:
            lump_count -= 1
            block.memory = lumps[lump_count]
    elif size <= BLOCK:
        block.room = BLOCK
        if block_count:
            block_count -= 1
            block.memory = blocks[block_count]
    else:
        block.room = size
    if block.memory == NULL:
        block.memory = <char*>malloc(block.room + (COLOURS if block.room == BLOCK else 0))
        if block.memory == NULL:
            raise MemoryError
    block.data = block.memory
    if block.room == BLOCK:
        colour = (colour + 320) % COLOURS
        block.data += colour
    return block


cdef class Pile:
    """The compiled twin of ``brokerkit.pile.Pile``: small pieces are copied into one block, large ones are kept."""

    cdef public object _turn
    cdef public Py_ssize_t limit, brim, pending
    cdef public bint open
    cdef bint touched
    cdef list pieces  # those before the block, None for none
    cdef bytes lone   # a small piece, as long as it is the only one: others may share it
    cdef Block block

    def __init__(self, turn, limit, brim):
        self._turn = turn
        self.limit = min(limit, PY_SSIZE_T_MAX)
        self.brim = min(brim, PY_SSIZE_T_MAX)
        self.pending = 0
        self.open = True
        self.touched = False
        self.pieces = self.lone = self.block = None

    def put(self, data):
        cdef Py_ssize_t size
        if not data or not self.open:
            return
        cdef bytes piece = data if type(data) is bytes else bytes(data)
        size = PyBytes_GET_SIZE(piece)
        if size >= SMALL:
            self.share(piece, size)
        elif self.block is None and self.pieces is None and self.lone is None:
            self.lone = piece
            self.count(size)
        else:
            memcpy(self.reserve(size), PyBytes_AS_STRING(piece), size)
            self.count(size)

    cdef char* reserve(self, Py_ssize_t size) except NULL:
        """Give room for exactly so many bytes behind what is there; they must be written before anything else is done."""
        cdef Block block = self.block
        cdef Block wider
        cdef char* place
        if self.lone is not None:  # then there is nothing else
            block = _block(PyBytes_GET_SIZE(self.lone) + size)
            block.size = PyBytes_GET_SIZE(self.lone)
            memcpy(block.data, PyBytes_AS_STRING(self.lone), block.size)
            self.block = block
            self.lone = None
        elif block is None:
            block = self.block = _block(size)
        elif block.room - block.size < size:
            if block.room < BLOCK and block.size + size <= BLOCK:
                wider = _block(block.size + size)
                memcpy(wider.data, block.data, block.size)
                wider.size = block.size
                block = self.block = wider
            else:
                self.seal()
                block = self.block = _block(max(size, BLOCK))
        place = block.data + block.size
        block.size += size
        return place

    cdef int seal(self) except -1:
        """Put the block among the pieces: nothing is added to it any more."""
        if self.pieces is None:
            self.pieces = []
        if self.lone is not None:
            self.pieces.append(self.lone)
            self.lone = None
        if self.block is not None:
            self.pieces.append(self.block)
            self.block = None
        return 0

    cdef int share(self, bytes piece, Py_ssize_t size) except -1:
        """Add a large piece, which other piles may have, too."""
        self.seal()
        self.pieces.append(piece)
        return self.count(size)

    cdef int count(self, Py_ssize_t size) except -1:
        """Count what has been added, have the turn write it, give the reader up where it is too much."""
        self.pending += size
        if not self.touched:
            self._turn.touched.append(self)
            self.touched = True
        if self.pending > self.limit and self.pending > size:  # one frame may always wait, however large
            note_call()
            self.abort("limit")
        return 0

    @property
    def able(self):
        return self.open and self.pending < self.brim

    def take(self):
        self.touched = False
        self.seal()
        pieces, self.pieces = self.pieces, None
        return pieces

    @property
    def _pieces(self):
        return [*(self.pieces or ()), *[one for one in (self.lone, self.block) if one is not None]]

    def abort(self, why):
        raise NotImplementedError


# -- routes and who stands in them ---------------------------------------------------------------------------------------

cdef class Receiver:
    """The compiled twin of ``brokerkit.fields.Receiver``."""

    cdef public bint alive
    cdef public object filter, framing, mute, origin, original, outbox, queue, tag
    cdef public dict keeps
    cdef public long long left, messages

    cdef bint is_usual(self):
        """Say whether there is nothing special about it, so that it takes batches whole."""
        return (
            self.framing is not None
            and self.filter is None
            and self.original is None
            and self.left < 0
            and not self.queue
            and self.origin is not SERVICE
            and isinstance(self.outbox, Pile)
        )


cdef class Leads:
    """The compiled twin of ``brokerkit.fields.Leads``, with the plan that is made of the route when it is first used."""

    cdef public long long generation
    cdef public bint stale
    cdef bint planned
    cdef Plan plan  # None: not for this code


cdef class Head:
    """The beginning of the frames of some receivers, by one framing."""

    cdef object framing, form, head
    cdef bytes headed  # what stands before the head where there are headers; None: such frames are made by the framing
    cdef tuple receivers, piles  # as many of the one as of the other


cdef class Plan:
    """A route as this code walks it."""

    cdef list heads    # Head, in the order of the route
    cdef list groups   # of lists of tiers, which are lists of Head with one receiver each
    cdef tuple others  # Receivers that are functions


cdef Head _head(framing, head, tuple receivers):
    """Give what is known of a head; ``None`` if it is not for this code."""
    cdef Head one = Head.__new__(Head)
    one.framing = framing
    one.head = head
    one.form = getattr(framing, "form", None)
    one.headed = getattr(framing, "headed", None)
    one.receivers = receivers
    if one.form is not None and type(head) is not bytes:
        return None
    for receiver in receivers:
        if not isinstance(receiver, Receiver) or not isinstance((<Receiver>receiver).outbox, Pile):
            return None
    one.piles = tuple([(<Receiver>receiver).outbox for receiver in receivers])
    return one


cdef Plan _plan(route):
    """Arrange a route; ``None`` if something in it is for the pure code."""
    cdef Plan plan = Plan.__new__(Plan)
    cdef Head one
    plan.heads = []
    plan.groups = []
    plan.others = route.others
    if route.mapper is not None or route.further or route.unspellable or (plan.others and route.groups):
        return None
    for other in plan.others:
        if not isinstance(other, Receiver):
            return None
    for framing, heads in route.plain:
        for head, receivers in heads:
            one = _head(framing, head, receivers)
            if one is None:
                return None
            plan.heads.append(one)
    for group in route.groups:
        tiers = []
        for members in group:
            tier = []
            for receiver, head, topic in members:
                if topic is not None or receiver.framing is None or receiver.left >= 0:
                    return None
                one = _head(receiver.framing, head, (receiver,))
                if one is None or one.form is None:
                    return None
                tier.append(one)
            tiers.append(tier)
        plan.groups.append(tiers)
    return plan


# -- what is held by topic -----------------------------------------------------------------------------------------------

cdef enum:
    EACH = 16  # as in brokerkit.holding

cdef bytes NOBODY = b"-"  # as there
AS_THERE = EACH, NOBODY


cdef class Count:
    """The compiled twin of ``brokerkit.holding.Count``."""

    cdef object __weakref__
    cdef public long long count


cdef class Holding:
    """The compiled twin of ``brokerkit.holding.Holding``."""

    cdef public long long held, room, brim
    cdef public double delay
    cdef public list lanes
    cdef public bint odd, touched

    def __init__(self):
        self.lanes = []

    def touch(self, lane):
        raise NotImplementedError


cdef class Held:
    """The compiled twin of ``brokerkit.holding.Held``: bytes in one piece of memory, and numbers in two others."""

    cdef public Holding holding
    cdef public object receiver
    cdef public Count order
    cdef public bint ready, gone, drops
    cdef public long long missed
    cdef public double delay
    cdef readonly Py_ssize_t count  # payloads that are held
    cdef readonly long long size
    cdef list names, counts
    cdef bytes name  # of the last payload's sender, who is in the lists when another one comes
    cdef long long named
    cdef char* text
    cdef Py_ssize_t used, most
    cdef uint32_t* lengths
    cdef uint32_t* places
    cdef Py_ssize_t slots

    def __init__(self, Holding holding not None, receiver, Count order):
        self.holding = holding
        self.receiver = receiver
        self.order = order
        self.names = []
        self.counts = []

    def __dealloc__(self):
        free(self.text)
        free(self.lengths)
        free(self.places)

    cdef int reserve(self, Py_ssize_t count, Py_ssize_t size) except -1:
        """Have room for so many payloads more, of so many bytes together."""
        cdef Py_ssize_t slots = self.slots, most = self.most
        cdef void* found
        if self.count + count > slots:
            slots = max(2 * slots, self.count + count, 16)
            found = realloc(self.lengths, slots * sizeof(uint32_t))
            if found == NULL:
                raise MemoryError
            self.lengths = <uint32_t*>found
            found = realloc(self.places, slots * sizeof(uint32_t))
            if found == NULL:
                raise MemoryError
            self.places = <uint32_t*>found
            self.slots = slots
        if self.used + size > most:
            most = max(2 * most, self.used + size, 512)
            found = realloc(self.text, most)
            if found == NULL:
                raise MemoryError
            self.text = <char*>found
            self.most = most
        return 0

    cdef int note(self, bytes sender, Py_ssize_t count, long long size) except -1:
        """Count what has been written behind the rest: it is held from now on."""
        cdef Py_ssize_t i
        cdef Holding holding = self.holding
        if not self.count:
            holding.lanes.append(self)
        if self.name is None or (self.name is not sender and self.name != sender):
            self.turn_over()
            self.name = sender
        self.named += count
        if self.order is not None:
            for i in range(count):
                self.places[self.count + i] = <uint32_t>(self.order.count + i)
            self.order.count += count
        self.count += count
        self.size += size
        holding.held += size
        return 0

    cdef int turn_over(self) except -1:
        """Put the last sender into the lists."""
        if self.named:
            self.names.append(self.name)
            self.counts.append(self.named)
            self.named = 0
        return 0

    def put(self, bytes sender not None, list payloads not None, long long size):
        cdef Py_ssize_t count = len(payloads), total = 0, i = 0
        cdef char* to
        if not count:
            return
        for payload in payloads:
            total += PyBytes_GET_SIZE(<bytes?>payload)
        self.reserve(count, total)
        to = self.text + self.used
        for payload in payloads:
            memcpy(to, PyBytes_AS_STRING(<bytes>payload), PyBytes_GET_SIZE(<bytes>payload))
            self.lengths[self.count + i] = <uint32_t>PyBytes_GET_SIZE(<bytes>payload)
            to += PyBytes_GET_SIZE(<bytes>payload)
            i += 1
        self.note(sender, count, size)
        self.used += total

    def take(self):
        if not self.count:
            raise ValueError("nothing is held")
        try:
            return self.taken()
        finally:
            self.empty()

    cdef object taken(self):
        global kept
        if kept is None:
            from brokerkit import holding as module
            kept = module
        cdef bytes joined = PyBytes_FromStringAndSize(self.text, self.used)
        cdef Py_ssize_t i, count = self.count
        cdef bint even = True
        for i in range(count):
            if self.lengths[i] != self.lengths[0]:
                even = False
                break
        lengths = self.lengths[0] if even else _numbers(self.lengths, count)
        places = _numbers(self.places, count if self.order is not None else 0)
        self.turn_over()
        senders = self.names[0] if len(self.names) == 1 else kept.spread(self.names, self.counts)
        return kept.Taken(kept.Bodies(joined, lengths, count), senders, places, self.size)

    cdef int empty(self) except -1:
        self.names, self.counts, self.name = [], [], None
        self.named = self.count = self.slots = self.used = self.most = self.size = 0
        free(self.text)
        free(self.lengths)
        free(self.places)
        self.text, self.lengths, self.places = NULL, NULL, NULL
        return 0


cdef object _numbers(const uint32_t* numbers, Py_ssize_t count):
    return array("I", PyBytes_FromStringAndSize(<const char*>numbers, count * sizeof(uint32_t)))


cdef bint _hold(
    dict keeps, Receiver receiver, Places run, bytes chunk, object topic, int k, int first, int stop, Py_ssize_t last
) except -1:
    """Hold the payloads of a batch; do nothing, and say so, where that is for ``receive`` to decide.

    ``last`` is where the batch ended before anybody was called: the run may have been cleared since.
    """
    cdef PyObject* found = PyDict_GetItem(keeps, topic)
    cdef Held held
    cdef Holding holding
    cdef const char* text = PyBytes_AS_STRING(chunk)
    cdef const char* line
    cdef char* to
    cdef int i, ahead = run.cut[k].ahead, behind = run.behind
    cdef Py_ssize_t at, end, total = 0, count = stop - first
    if found == NULL or not isinstance(<object>found, Held) or run.asking or run.cut[k].headed:
        return False
    held = <Held>found
    holding = held.holding
    if held.receiver is not receiver or not held.ready or held.gone or held.missed or holding.odd:
        return False
    if type(run.name) is not bytes:
        return False
    if not holding.touched:
        note_call()
        holding.touch(held)
    if holding.held + (last - run.at[first]) + EACH * count > (holding.brim if held.drops else holding.room):
        return False  # perhaps: it is measured there, and nothing is reserved for what is not held
    held.reserve(count, last - run.at[first])
    to = held.text + held.used
    for i in range(first, stop):
        at, end = run.at[i], (run.at[i + 1] if i + 1 < stop else last) - behind
        if ahead:
            at += ahead
        else:
            line = <const char*>memchr(text + at, c"\n", end - at)
            if line == NULL:
                return False
            at = line + 1 - text
        if at > end:
            return False
        memcpy(to, text + at, end - at)
        held.lengths[held.count + i - first] = <uint32_t>(end - at)
        to += end - at
        total += end - at
    if held.delay < holding.delay:
        holding.delay = held.delay
    held.note(<bytes>run.name if run.name else NOBODY, count, total + EACH * count)
    held.used += total  # last: without the memory to note them, nothing stands between this and what comes next
    return True


# -- the trie ------------------------------------------------------------------------------------------------------------

cdef class Level:
    """The compiled twin of ``brokerkit.trie.Level``."""

    cdef public dict next, ends, rest
    cdef public Level star

    def __init__(self):
        self.next = {}
        self.star = None
        self.ends = {}
        self.rest = {}

    def is_bare(self):
        return not (self.next or self.star is not None or self.ends or self.rest)

    def below(self, bytes token):
        if token == b"*":
            if self.star is None:
                self.star = Level()
            return self.star
        level = self.next.get(token)
        if level is None:
            level = self.next[token] = Level()
        return level


cpdef list walk(Level root, bytes topic):
    """Do what ``brokerkit.trie.walk`` does."""
    if root is None or topic is None:
        raise TypeError("a level and a topic are wanted")
    cdef list found = [], levels = [root], reached
    cdef const char* start = PyBytes_AS_STRING(topic)
    cdef const char* end = start + PyBytes_GET_SIZE(topic)
    cdef const char* stop
    cdef Level level
    cdef PyObject* below
    cdef bytes token
    cdef Py_ssize_t i
    while True:
        stop = <const char*>memchr(start, c'.', end - start)
        if stop == NULL:
            stop = end
        token = None
        reached = []
        for i in range(PyList_GET_SIZE(levels)):
            level = <Level>PyList_GET_ITEM(levels, i)
            if level.rest:
                found.extend(level.rest)
            if level.next:
                if token is None:
                    token = PyBytes_FromStringAndSize(start, stop - start)
                below = PyDict_GetItem(level.next, token)
                if below != NULL:
                    reached.append(<Level?>below)
            if level.star is not None:
                reached.append(level.star)
        if not reached:
            return found
        levels = reached
        if stop == end:
            break
        start = stop + 1
    for i in range(PyList_GET_SIZE(levels)):
        level = <Level>PyList_GET_ITEM(levels, i)
        if level.ends:
            found.extend(level.ends)
    return found


# -- topics that are asked for once --------------------------------------------------------------------------------------

cdef class Once:
    """What is looked into for a topic that no cache has: as ``Gate.miss`` and ``Router.route`` do it, without a route.

    A topic that has been asked for lately is not one of these: it is worth a route.
    """

    cdef dict routes, literals
    cdef set once
    cdef Py_ssize_t most
    cdef Level patterns
    cdef tuple barred
    cdef long long asked
    cdef bint open
    cdef object framing  # the last one met, and what it says of itself
    cdef object form
    cdef bytes headed, before, between, behind

    cdef int look(self, router, gate) except -1:
        """Take the tables of now."""
        barred, tables = gate.free_but_for, router.tables
        self.open = barred is not None and bool(tables)
        if self.open:
            self.routes, self.once, self.most, self.literals, self.patterns = tables
            self.barred = barred
        return 0

    cdef list found(self, bytes topic):
        """Give who receives a topic, if it may be published and is asked for once; else ``None``."""
        cdef PyObject* same
        cdef list found
        if PyDict_GetItem(self.routes, topic) != NULL or topic in self.once:
            return None
        for beginning in self.barred:
            if topic.startswith(beginning):
                return None
        found = [] if _has_empty_token(topic) else walk(self.patterns, topic)
        same = PyDict_GetItem(self.literals, topic)
        if same != NULL:
            found.extend(<object>same)
        for one in found:
            if not isinstance(one, Receiver) or not (<Receiver>one).is_usual():
                return None
        return found if PyList_GET_SIZE(found) < 2 else _by_head(found)

    cdef int note(self, bytes topic) except -1:
        """Count a topic that was found here, and remember that it was asked for."""
        self.asked += 1
        if len(self.once) >= self.most:
            self.once.clear()
        self.once.add(topic)
        return 0

    cdef bint knows(self, object framing, Places run, bint headed):
        """Say whether frames by that framing are a head that is known from the topic, and what is in the chunk."""
        if framing is not self.framing:
            self.framing = framing
            self.form = getattr(framing, "form", None)
            self.headed = getattr(framing, "headed", None)
            around = getattr(framing, "around", None)
            if around is None:
                self.form = None
            else:
                self.before, self.between, self.behind = around
        return self.form is not None and self.form is run.form and (not headed or self.headed is not None)

    cdef bytes start(self, bytes topic, Py_ssize_t above, bytes tag):
        """Give the head of a topic, by the framing that was asked about last."""
        cdef Py_ssize_t one = PyBytes_GET_SIZE(self.before), two = PyBytes_GET_SIZE(topic) - above
        cdef Py_ssize_t three = PyBytes_GET_SIZE(self.between), four = PyBytes_GET_SIZE(tag)
        cdef Py_ssize_t five = PyBytes_GET_SIZE(self.behind)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, one + two + three + four + five)
        cdef char* to = PyBytes_AS_STRING(made)
        memcpy(to, PyBytes_AS_STRING(self.before), one)
        memcpy(to + one, PyBytes_AS_STRING(topic) + above, two)
        memcpy(to + one + two, PyBytes_AS_STRING(self.between), three)
        memcpy(to + one + two + three, PyBytes_AS_STRING(tag), four)
        memcpy(to + one + two + three + four, PyBytes_AS_STRING(self.behind), five)
        return made


cdef list _by_head(list found):
    """Put those together who share framing and head, as a route does: one connection may have several wishes."""
    cdef dict framed = {}, heads
    cdef list together = []
    for one in found:
        heads = framed.setdefault((<Receiver>one).framing, {})
        heads.setdefault((<Receiver>one).tag, []).append(one)
    for heads in framed.values():
        for same in heads.values():
            together.extend(same)
    return together


cdef bint _has_empty_token(bytes topic):
    cdef const char* s = PyBytes_AS_STRING(topic)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(topic), i
    if size == 0 or s[0] == c'.' or s[size - 1] == c'.':
        return True
    for i in range(size - 1):
        if s[i] == c'.' and s[i + 1] == c'.':
            return True
    return False


cdef bint _give_once(
    Places run, bytes chunk, bytes topic, int k, int first, int stop, Once once, object gate
) except -1:
    """Deliver a batch whose topic is asked for once; do nothing, and say so, where that is for the others to do."""
    cdef list found = once.found(topic)
    cdef Receiver receiver
    cdef bint headed = run.cut[k].headed, heard = False
    cdef int skip = run.cut[k].skip
    cdef object sender = run.sender
    cdef Py_ssize_t i, end = _end(run, stop)
    cdef bytes start
    if found is None:
        return False
    for i in range(PyList_GET_SIZE(found)):
        receiver = <Receiver>PyList_GET_ITEM(found, i)
        if not once.knows(receiver.framing, run, headed) or type(receiver.tag) is not bytes:
            return False
    once.note(topic)
    for i in range(PyList_GET_SIZE(found)):
        receiver = <Receiver>PyList_GET_ITEM(found, i)
        if receiver.mute is not None and receiver.mute is sender:
            continue
        once.knows(receiver.framing, run, headed)
        heard = True
        receiver.messages += stop - first
        if (<Pile>receiver.outbox).open:
            start = once.start(topic, run.above, <bytes>receiver.tag)
            _add(
                <Pile>receiver.outbox, PyBytes_AS_STRING(chunk), run.at, once.headed if headed else b"",
                PyBytes_AS_STRING(start), PyBytes_GET_SIZE(start), skip, first, stop, end
            )
    if not heard:
        _unheard(run, topic, first, stop, gate)
    return True


cdef int _unheard(Places run, object topic, int first, int stop, object gate) except -1:
    """Tell who wants to know that nobody has received a part of a run."""
    unheard = gate.unheard
    if unheard is not None:
        note_call()
        unheard(slow.Batch(run, topic, first, stop))
    return 0


# -- delivery ------------------------------------------------------------------------------------------------------------

cdef unsigned int luck = int.from_bytes(urandom(4), "little") | 1


cdef inline unsigned int _below(unsigned int most) noexcept nogil:
    """Give a number below ``most``: a fair share, not a secret."""
    global luck
    luck ^= luck << 13
    luck ^= luck >> 17
    luck ^= luck << 5
    return luck % most


def choose(unsigned int most):
    """Give what the choice among so many would be next: a test has the pure code choose by the same dice."""
    if not most:
        raise ValueError("there is nothing to choose from")
    return _below(most)


def seed(unsigned int start):
    """Have the choice among the members of queue groups begin here, as a test needs it; 0 is no beginning."""
    global luck
    luck = start


def deliver(Places run not None, gate):
    """Do what ``brokerkit.deliver.deliver_plainly`` does."""
    if slow is None:
        wake()
    if not run.count or run.busy or run.origin is not CLIENT:
        return slow.deliver_plainly(run, gate)
    run.busy = 1
    try:
        return _deliver(run, gate)
    finally:
        run.busy = 0


cdef object _deliver(Places run, gate):
    cdef dict routes = gate.routes
    cdef object router = gate.router, topic, missed
    cdef bytes chunk = run._chunk
    cdef long long generation = router.generation
    cdef Py_ssize_t passed = 0
    cdef int k = 0, first, stop
    cdef unsigned long before = calls, looked = calls
    cdef Once once = None
    cdef PyObject* found
    cdef Leads route
    cdef list topics = run._topics
    while k < run.batches and k < PyList_GET_SIZE(topics):  # somebody may clear the run
        first = run.cut[k].first
        stop = run.cut[k + 1].first if k + 1 < run.batches else run.count
        topic = <object>PyList_GET_ITEM(topics, k)
        found = PyDict_GetItem(routes, topic)
        if before != calls:  # as of now, whatever has been called since
            before = calls
            generation = router.generation
        if found != NULL and not (<Leads?>found).stale and (<Leads>found).generation == generation:
            route = <Leads>found
        else:
            if once is None:
                once = Once.__new__(Once)
                once.look(router, gate)
                looked = calls
            elif looked != calls:
                looked = calls
                once.look(router, gate)
            if found == NULL and once.open and _give_once(run, chunk, topic, k, first, stop, once, gate):
                passed += stop - first
                k += 1
                continue
            note_call()
            missed = gate.miss(topic)
            if missed is None:
                k += 1
                if gate.refused(slow.Batch(run, router.mapped(topic), first, stop)):
                    continue
                break
            route = missed
        passed += stop - first
        if not route.planned:
            route.plan = _plan(route)
            route.planned = True
        if route.plan is None or not _give(run, chunk, topic, k, first, stop, route, gate, before):
            note_call()
            slow.deliver_batch(slow.Batch(run, topic, first, stop), gate, route)
        k += 1
    gate.messages += passed
    router.messages += passed
    if once is not None and once.asked:
        router.asked += once.asked
        router.matched += once.asked
    return passed


cdef bint _give(
    Places run, bytes chunk, object topic, int k, int first, int stop, Leads route, object gate, unsigned long before
) except -1:
    """Give a batch to all whom the plan knows; say so, or do nothing where the pure code has to.

    ``before`` are the calls up to which the route was seen to be true.
    """
    cdef Plan plan = route.plan
    cdef bint headed = run.cut[k].headed, heard = False
    cdef int skip = run.cut[k].skip
    cdef Py_ssize_t n = PyList_GET_SIZE(plan.heads), i, j, end = _end(run, stop)
    cdef Head head
    cdef Receiver receiver
    cdef list made = None
    cdef object framing = None, pieces = None, frames, batch = None, sender = run.sender
    for i in range(n):  # first what may fail: nobody has had anything by then
        head = <Head>PyList_GET_ITEM(plan.heads, i)
        if head.form is run.form and (not headed or head.headed is not None):
            continue
        if made is None:
            made = [None] * n
            note_call()
            batch = slow.Batch(run, topic, first, stop)
        try:
            if head.framing is not framing:
                framing = head.framing
                pieces = framing.pieces(batch)
            frames = framing.frame(head.head, pieces) if pieces is not None else None
        except Exception:  # the pure code meets it again, with the message to blame, and logs it
            return False
        if not frames:
            return False
        made[i] = frames
    if plan.groups and not _may_share(plan, run, headed):
        return False
    for i in range(n):
        head = <Head>PyList_GET_ITEM(plan.heads, i)
        if made is not None and made[i] is not None:
            frames = made[i]
            for j in range(PyTuple_GET_SIZE(head.receivers)):
                receiver = <Receiver>PyTuple_GET_ITEM(head.receivers, j)
                if receiver.mute is None or receiver.mute is not sender:
                    (<Pile>PyTuple_GET_ITEM(head.piles, j)).put(frames)
                    receiver.messages += stop - first
                    heard = True
        elif _put(run, chunk, head, headed, skip, first, stop, end, sender):
            heard = True
    for other in plan.others:
        receiver = <Receiver>other
        if not receiver.alive or (receiver.mute is not None and receiver.mute is sender):
            continue
        if receiver.keeps and _hold(receiver.keeps, receiver, run, chunk, topic, k, first, stop, end):
            receiver.messages += stop - first
            continue
        note_call()
        if batch is None:
            batch = slow.Batch(run, topic, first, stop)
        if slow.hand_over(receiver, batch):
            heard = True
    if plan.groups:
        _share(run, chunk, topic, headed, skip, first, stop, route, gate, before, heard)
    elif not heard:
        _unheard(run, topic, first, stop, gate)
    return True


cdef bint _put(
    Places run, bytes chunk, Head head, bint headed, int skip, int first, int stop, Py_ssize_t end, object sender
) except -1:
    """Put the frames of a batch, cut from the chunk, where all go who share a head; say whether anybody was there."""
    cdef const char* text = PyBytes_AS_STRING(chunk)
    cdef const char* start = PyBytes_AS_STRING(head.head)
    cdef bytes mark = head.headed if headed else b""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head.head)
    cdef Py_ssize_t count = stop - first, j
    cdef Py_ssize_t total = (end - run.at[first]) + count * (PyBytes_GET_SIZE(mark) + size - skip)
    cdef Py_ssize_t many = PyTuple_GET_SIZE(head.receivers)
    cdef Receiver receiver
    cdef Pile pile
    cdef bytes shared = None
    cdef bint heard = False
    for j in range(many):
        receiver = <Receiver>PyTuple_GET_ITEM(head.receivers, j)
        if receiver.mute is not None and receiver.mute is sender:
            continue
        heard = True
        receiver.messages += count
        pile = <Pile>PyTuple_GET_ITEM(head.piles, j)
        if not pile.open:
            continue
        if many > 1 and total >= SMALL:
            if shared is None:
                shared = PyBytes_FromStringAndSize(NULL, total)
                _spell(
                    PyBytes_AS_STRING(shared), text, run.at, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark), start, size,
                    skip, first, stop, end
                )
            pile.share(shared, total)
        else:
            _add(pile, text, run.at, mark, start, size, skip, first, stop, end)
    return heard


cdef inline Py_ssize_t _end(Places run, int stop) noexcept:
    """Give where the message before ``stop`` ends."""
    return run.at[stop] if stop < run.count else run._end


cdef inline int _add(
    Pile pile, const char* text, const int* places, bytes mark, const char* start, Py_ssize_t size, int skip, int first,
    int stop, Py_ssize_t end
) except -1:
    """Put the frames of a batch into one pile, and write it out if that is enough for one write."""
    cdef Py_ssize_t before = PyBytes_GET_SIZE(mark)
    cdef Py_ssize_t total = (end - places[first]) + (stop - first) * (before + size - skip)
    cdef char* to = pile.reserve(total)
    _spell(to, text, places, PyBytes_AS_STRING(mark), before, start, size, skip, first, stop, end)
    pile.count(total)
    if pile.block is not None and pile.block.size >= ENOUGH:
        note_call()
        pile._turn.flush(pile)
        pile.touched = True  # the turn has it in its list still
    return 0


cdef inline void _spell(
    char* to, const char* text, const int* places, const char* mark, Py_ssize_t before, const char* start,
    Py_ssize_t size, int skip, int first, int stop, Py_ssize_t end
) noexcept nogil:
    """Write the frames of a batch: what stands before the head, the head, and what is in the chunk."""
    cdef int i
    cdef Py_ssize_t at, following = places[first]
    if not (before or size or skip):  # the frames are what is in the chunk, one behind the other
        memcpy(to, text + following, end - following)
        return
    for i in range(first, stop):
        at = following + skip
        following = places[i + 1] if i + 1 < stop else end
        if before:
            memcpy(to, mark, before)
            to += before
        if size:
            memcpy(to, start, size)
            to += size
        memcpy(to, text + at, following - at)
        to += following - at


cdef bint _may_share(Plan plan, Places run, bint headed) except -1:
    """Say whether every member of every group can be sent the messages as they stand."""
    cdef Head head
    for tiers in plan.groups:
        for tier in <list>tiers:
            for one in <list>tier:
                head = <Head>one
                if head.form is not run.form or (headed and head.headed is None):
                    return False
    return True


cdef int _share(
    Places run, bytes chunk, object topic, bint headed, int skip, int first, int stop, Leads route, object gate,
    unsigned long before, bint heard
) except -1:
    """Give the messages of a batch, one by one, to one member of each group."""
    cdef int i
    cdef bint given
    cdef Py_ssize_t end
    cdef Plan plan = route.plan
    cdef object sender = run.sender
    for i in range(first, stop):
        if before != calls:
            before = calls
            if run.count < stop:  # somebody has cleared the run
                break
            if route.stale or route.generation != <long long>gate.router.generation:  # others are there by now
                note_call()
                slow.share(slow.Batch(run, topic, i, stop), gate, route, heard=heard)
                break
        end = _end(run, i + 1)
        given = False
        for tiers in plan.groups:
            if _give_to_one(run, chunk, i, end, headed, skip, <list>tiers, sender):
                given = True
        if not (heard or given):
            _unheard(run, topic, i, i + 1, gate)
    return 0


cdef bint _give_to_one(
    Places run, bytes chunk, int i, Py_ssize_t end, bint headed, int skip, list tiers, object sender
) except -1:
    """Give one message to a member, the nearest first, to one whose reader is behind only if all are."""
    cdef int able, j
    cdef unsigned int first, n
    cdef Py_ssize_t t
    cdef list tier
    cdef Head head
    cdef Receiver receiver
    cdef Pile pile
    for able in range(1, -1, -1):
        for t in range(PyList_GET_SIZE(tiers)):
            tier = <list>PyList_GET_ITEM(tiers, t)
            n = <unsigned int>PyList_GET_SIZE(tier)
            first = _below(n)
            for j in range(<int>n):
                head = <Head>PyList_GET_ITEM(tier, (first + j) % n)
                receiver = <Receiver>PyTuple_GET_ITEM(head.receivers, 0)
                pile = <Pile>PyTuple_GET_ITEM(head.piles, 0)
                if (
                    pile.open
                    and (pile.pending < pile.brim) == able
                    and receiver.alive
                    and (receiver.mute is None or receiver.mute is not sender)
                ):
                    return _put(run, chunk, head, headed, skip, i, i + 1, end, sender)
    return False
