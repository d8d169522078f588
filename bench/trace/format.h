/*
 * Two formats of a program's allocation calls.
 *
 * raw: what the recorder writes while the program runs; the order of records is the order of the calls, over
 * all threads, in this sense: a free is recorded before it is made, everything else after it returned, so an
 * address is never recorded as given out again before it was given back. A realloc is two records, as it does
 * both.
 *
 *     struct raw_header | struct raw_record | struct raw_record | ...
 *
 * packed: what is kept and replayed. Addresses are gone: a block is a slot number, reused after the block's
 * end, and a generation that tells the slot's blocks apart. Each thread has its own stream, so replay is as
 * parallel as the program was; a thread that frees what another allocates waits for it, and nothing else
 * orders them.
 *
 *     struct packed_header | struct packed_stream x threads | the streams
 *     a record: op (1 byte), then LEB128 numbers:
 *         TAKE    slot generation size            malloc
 *         ZEROED  slot generation size            calloc
 *         ALIGNED slot generation size log2(alignment)
 *         GROW    slot generation size old-slot old-generation old-size     realloc
 *         GIVE    slot generation                 free
 */
#ifndef BENCH_TRACE_FORMAT_H
#define BENCH_TRACE_FORMAT_H

#include <stdint.h>

#define RAW_MAGIC UINT64_C(0x3177617271)      /* "qraw1" */
#define PACKED_MAGIC UINT64_C(0x317672747171) /* "qqtrv1" */

enum raw_op { RAW_EMPTY, RAW_MALLOC, RAW_CALLOC, RAW_ALIGNED, RAW_FREE, RAW_REALLOC_FROM, RAW_REALLOC_TO };

struct raw_header {
    uint64_t magic;
    uint64_t room;     /* records the file can hold */
    uint64_t reserved; /* records asked for; more than `room` means the rest was dropped */
};

struct raw_record {
    uint64_t address;
    uint64_t size;
    uint32_t thread;
    uint8_t op;
    uint8_t alignment_log2;
    uint16_t unused;
};

enum packed_op { PACKED_TAKE = 1, PACKED_ZEROED, PACKED_ALIGNED, PACKED_GROW, PACKED_GIVE };

enum { GENERATION_BITS = 16 }; /* a generation is kept modulo 2^16: the replayer packs it beside an address */

struct packed_header {
    uint64_t magic;
    uint64_t records;
    uint64_t slots; /* the most blocks alive at once */
    uint64_t threads;
    uint64_t peak_bytes; /* the most bytes asked for and alive at once */
};

struct packed_stream {
    uint64_t offset, length; /* of the thread's records, from the start of the file */
};

#endif
