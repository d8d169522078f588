/*
 * LD_PRELOAD=recorder.so QUARRY_BENCH_RECORD=FILE program...
 *
 * Writes the allocation calls of one process as raw records (format.h) into a sparse file mapped shared, so
 * that nothing is lost however the process ends. The file must not exist: whoever creates it is recorded, and
 * programs it starts, which inherit the environment, are not. A forked child stops recording.
 */
#define _GNU_SOURCE
#include "format.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RECORDS_MOST = 256 << 20, EARLY_BYTES = 64 << 10 };

static struct raw_header *header; /* NULL: not recording */
static struct raw_record *records;
static atomic_uint threads_seen;
static _Thread_local unsigned my_thread
    __attribute__((tls_model("initial-exec"))); /* 1 and up; 0: no call yet */

/* --- the allocator beneath --- */

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_memalign)(size_t, size_t);
static void (*next_free)(void *);

/* dlsym may allocate: until it has answered, blocks come from here and are never given back. */
static _Alignas(16) unsigned char early[EARLY_BYTES];
static size_t early_used;
static int resolving;

static void *early_take(size_t size)
{
    size_t start = early_used;
    early_used += (size + 15) & ~(size_t)15;
    if (early_used > EARLY_BYTES)
        abort();
    return early + start;
}

static int is_early(const void *block)
{
    return (const unsigned char *)block >= early && (const unsigned char *)block < early + EARLY_BYTES;
}

static void resolve(void)
{
    resolving = 1;
    *(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next_memalign = dlsym(RTLD_NEXT, "memalign");
    *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
    resolving = 0;
}

/* --- recording --- */

static void stop_in_child(void)
{
    header = NULL;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("QUARRY_BENCH_RECORD");
    size_t bytes = sizeof *header + (size_t)RECORDS_MOST * sizeof *records;
    int file = path ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    void *pages = ftruncate(file, (off_t)bytes)
                      ? MAP_FAILED
                      : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (pages == MAP_FAILED)
        return;
    struct raw_header *fresh = pages;
    *fresh = (struct raw_header){.magic = RAW_MAGIC, .room = RECORDS_MOST};
    records = (struct raw_record *)(fresh + 1);
    pthread_atfork(NULL, NULL, stop_in_child);
    header = fresh;
}

static void record(enum raw_op op, const void *address, size_t size, unsigned alignment_log2)
{
    struct raw_header *h = header;
    if (!h)
        return;
    if (!my_thread)
        my_thread = atomic_fetch_add(&threads_seen, 1) + 1;
    uint64_t at = __atomic_fetch_add(&h->reserved, 1, __ATOMIC_RELAXED);
    if (at < RECORDS_MOST)
        records[at] = (struct raw_record){.address = (uintptr_t)address,
                                          .size = size,
                                          .thread = my_thread - 1,
                                          .op = (uint8_t)op,
                                          .alignment_log2 = (uint8_t)alignment_log2};
}

static void *taken(enum raw_op op, void *block, size_t size, size_t alignment)
{
    if (block)
        record(op, block, size, alignment ? (unsigned)__builtin_ctzl(alignment) : 0);
    return block;
}

/* --- the calls --- */

void *malloc(size_t size)
{
    if (!next_malloc) {
        if (resolving)
            return early_take(size);
        resolve();
    }
    return taken(RAW_MALLOC, next_malloc(size), size, 0);
}

void *calloc(size_t count, size_t size)
{
    if (!next_malloc) {
        if (resolving)
            return early_take(count * size); /* never used before, so still zero */
        resolve();
    }
    return taken(RAW_CALLOC, next_calloc(count, size), count * size, 0);
}

void free(void *block)
{
    if (!block || is_early(block))
        return;
    record(RAW_FREE, block, 0, 0);
    next_free(block);
}

void *realloc(void *block, size_t size)
{
    if (!block)
        return malloc(size);
    if (is_early(block)) {
        void *moved = malloc(size);
        size_t rest = (size_t)(early + EARLY_BYTES - (unsigned char *)block);
        return moved ? memcpy(moved, block, size < rest ? size : rest) : NULL;
    }
    record(RAW_REALLOC_FROM, block, 0, 0);
    void *moved = next_realloc(block, size);
    record(RAW_REALLOC_TO, moved, size, 0);
    return moved;
}

void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, bytes);
}

void *memalign(size_t alignment, size_t size)
{
    if (!next_malloc)
        resolve();
    return taken(RAW_ALIGNED, next_memalign(alignment, size), size, alignment);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (!alignment || alignment & (alignment - 1) || alignment % sizeof(void *))
        return EINVAL;
    int before = errno;
    void *found = memalign(alignment, size);
    errno = before;
    if (found)
        *block = found;
    return found ? 0 : ENOMEM;
}

void *valloc(size_t size)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}
