/*
 * A kernel that puts mappings right behind the break, as it does under some emulators and when address space is short:
 * chunks of the heap and mapped blocks lie in one granule, and the break soon meets a mapping (M-20, M-21).
 *
 * mmap is exported, so the preloaded allocator's calls come here.
 */
#include "stress_blocks.h"

#include <sys/syscall.h>

enum { K = 1024, M = 1024 * K };

static uintptr_t near_here;

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (!at && near_here) {
        void *near =
            (void *)syscall(SYS_mmap, near_here, bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, offset);
        near_here += (bytes + PAGE - 1) / PAGE * PAGE;
        if (near != MAP_FAILED)
            return near;
    }
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

static uintptr_t behind_break(size_t distance)
{
    return ((uintptr_t)sbrk(0) + distance) / PAGE * PAGE;
}

QTEST("mapped blocks behind the break are told from the heap's (M-21)")
{
    free(malloc(100 * K)); /* the heap is there */
    near_here = behind_break(M);
    char *blocks[8];
    for (int i = 0; i < 8; i++) {
        blocks[i] = malloc(300 * K);
        QT_CHECK(blocks[i]);
        QT_CHECK((uintptr_t)blocks[i] - (uintptr_t)sbrk(0) < 64 * M);
        memset(blocks[i], i, 300 * K);
        QT_CHECK(malloc_usable_size(blocks[i]) >= 300 * K);
    }
    for (int i = 0; i < 8; i++) {
        blocks[i] = realloc(blocks[i], 500 * K);
        QT_CHECK(blocks[i]);
        QT_EQ(pattern_other_byte((unsigned char *)blocks[i], 300 * K, (unsigned char)i), 300 * K);
    }
    void *aligned = aligned_alloc(64 * K, 640 * K);
    QT_CHECK(aligned && (uintptr_t)aligned % (64 * K) == 0);
    free(aligned);
    for (int i = 0; i < 8; i++)
        free(blocks[i]);
}

QTEST_DEATH("a pointer into a mapped block behind the break is refused (M-50)", SIGABRT, "invalid pointer")
{
    free(malloc(100 * K));
    near_here = behind_break(M);
    char *block = malloc(300 * K);
    free(block + 16);
}

QTEST("heap and mappings grow into each other (M-20, M-21, M-32)")
{
    struct rng r = rng_seeded(1);
    enum { SLOTS = 300 };
    static struct block slots[SLOTS];
    near_here = behind_break(4 * M);
    for (int i = 0; i < 30000; i++) {
        struct block *b = &slots[rng_below(&r, SLOTS)];
        size_t n = block_size(&r, 400 * K);
        if (!b->p)
            QT_CHECK(block_make(b, n, &r));
        else if (rng_one_in(&r, 4))
            QT_CHECK(block_resize(b, n));
        else
            block_drop(b);
    }
    for (int i = 0; i < SLOTS; i++)
        block_drop(&slots[i]);
    malloc_trim(0);
}

QTEST_MAIN
