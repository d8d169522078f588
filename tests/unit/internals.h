/*
 * For tests of the internals: the library's state made ready, address space for chunks, and children that must die.
 */
#ifndef UNIT_INTERNALS_H
#define UNIT_INTERNALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../include/rng.h"
#include "chunk/marks.h"
#include "os/pages.h"

/* Under a sanitizer Quarry is not this program's malloc, and nobody has started it. */
static inline void internals_ready(void)
{
#ifdef __SANITIZE_ADDRESS__
    qy_pages_init();
#else
    free(malloc(1));
#endif
}

/* Address space for chunks that belongs to `owner`, from the middle of one granule to the middle of the next. */
enum { FIELD_BYTES = QY_GRANULE_BYTES };

static inline char *field_make(struct qy_arena *owner)
{
    char *space = mmap(NULL, 3 * QY_GRANULE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(space != MAP_FAILED);
    char *field = (char *)qy_align_up((uintptr_t)space, QY_GRANULE_BYTES) + QY_GRANULE_BYTES / 2;
    assert_true(qy_granule_claim(field, field + FIELD_BYTES, owner, QY_TABLES_MAPPED));
    return field;
}

/* A chunk in use at `c`, as an arena would leave it. */
static inline void chunk_make(struct qy_chunk *c, size_t size)
{
    qy_chunk_mark(c);
    qy_chunk_set_used(c, size, QY_PREV_INUSE);
    qy_chunk_mark_inuse(c);
    qy_chunk_note_size(c);
}

/* Chunk sizes as programs have them: most small, some of every size up to `most`. */
static inline size_t chunk_size_random(struct rng *r, size_t most)
{
    return qy_align_up((size_t)rng_log(r, QY_MIN_CHUNK, most), QY_ALIGNMENT);
}

/* What `act` does ends the process with one line on stderr, which is not shown. */
static inline void must_abort(void (*act)(void *), void *with)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        act(with);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

#endif
