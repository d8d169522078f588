/*
 * Each check by itself: one word is damaged, and what is said names that check and that block, at the first moment at
 * which the word would have been believed (M-50). The attacks of safety_techniques_* meet several checks, one behind
 * the other, so they do not notice when one is gone; these do.
 */
/* variants: classic */
/* not: check musl */
#include "mech_heap.h"
#include "safety.h"

#define TEST(name) QTEST_X(name, .env = NO_TCACHE)

#define HEADER_BEFORE "^quarry: corrupted header: " HEX ": the size before this block was written over$"
#define MAPPED_HEADER_BEFORE \
    "^quarry: corrupted header: " HEX ": the size before this mapped block was written over$"
#define FREE_BEFORE \
    "^quarry: corrupted header: " HEX ": the size of the free block before this one disagrees$"
#define FREE_SIZE "^quarry: corrupted header: " HEX ": the size of this free block was written over$"
#define LINK "^quarry: corrupted list: " HEX ": a link in this free block was written over$"
#define SINGLE_LINK "^quarry: corrupted list: " HEX ": the link in this free block was written over$"
#define LINKS_DISAGREE \
    "^quarry: corrupted list: " HEX ": the links of this free block and its neighbours disagree$"
#define TOP "^quarry: corrupted top: " HEX ": the size of top was written over$"

/* A free chunk of the attacker's making, and the block that one would be. */
static size_t forged[64] __attribute__((aligned(64)));

static size_t chunk_of(const void *mem)
{
    return (size_t)mem - 16;
}

static void judge(safety_bug *bug, const char *re)
{
    dies(bug, NULL, re, "the bug");
    safety_done();
}

static void arena_bit(const void *arg)
{
    use_up_bins();
    char *p = guarded(2000);
    words(p)[-1] |= A_BIT;
    safety->named = p;
    free(p);
}

TEST("an A bit that was set in a block of the main arena is not believed (M-50)")
{
    judge(arena_bit, HEADER_BEFORE);
}

static void size_word(const void *arg)
{
    use_up_bins();
    char *p = guarded(2000), *q = guarded(2000);
    words(p)[-1] += chunk_bytes(q); /* a size that ends in the middle of another block */
    safety->named = p;
    free(p);
}

TEST("a size that is not the block's is not believed (M-50)")
{
    judge(size_word, HEADER_BEFORE);
}

static void prev_size_in_use(const void *arg)
{
    use_up_bins();
    char *p = malloc(2000), *q = guarded(2000);
    words(q)[-1] &= ~P_BIT;
    words(q)[-2] = chunk_bytes(p) - 64; /* where nothing begins */
    safety->named = q;
    free(q);
}

TEST("a prev_size that leads to no free block is not believed when the block is freed (M-50)")
{
    judge(prev_size_in_use, HEADER_BEFORE);
}

static void prev_size_of_fast(const void *arg)
{
    use_up_bins();
    char *p = malloc(2000), *fast = guarded(100);
    free(p);
    free(fast);
    words(fast)[-2] += 16;
    safety->named = fast;
    malloc(5000); /* consolidates */
}

TEST("a prev_size that was written over in a fast bin is not believed by consolidation (M-18, M-50)")
{
    judge(prev_size_of_fast, FREE_BEFORE);
}

static void size_in_a_bin(const void *arg)
{
    use_up_bins();
    char *p = guarded(2000);
    free(p);
    words(p)[-1] += 64;
    safety->named = p;
    malloc(5000);
}

TEST("the size of a free block in a bin is not believed (M-50)")
{
    judge(size_in_a_bin, FREE_SIZE);
}

static void size_in_a_fast_bin(const void *arg)
{
    use_up_bins();
    char *p = guarded(100);
    free(p);
    words(p)[-1] += 16;
    safety->named = p;
    malloc(100);
}

TEST("the size of a free block in a fast bin is not believed (M-11, M-50)")
{
    judge(size_in_a_fast_bin, FREE_SIZE);
}

static void link_to_a_forged_chunk(const void *arg)
{
    use_up_bins();
    char *p = guarded(2000);
    free(p);
    forged[1] = chunk_bytes(p) | P_BIT;
    forged[2] = chunk_of(p); /* its fd: unlink's own check would be content */
    words(p)[1] = (size_t)forged;
    safety->named = p;
    malloc(5000);
}

TEST("a link that leads out of the heap is not followed (M-50)")
{
    judge(link_to_a_forged_chunk, LINK);
}

static void link_to_another_chunk(const void *arg)
{
    use_up_bins();
    char *first = guarded(2000), *second = guarded(3000), *third = guarded(4000);
    free(first);
    free(second);
    free(third);
    words(second)[0] = chunk_of(third); /* its fd was the first */
    safety->named = first;
    malloc(5000);
}

TEST("a free block is not unlinked from neighbours that do not lead back to it (M-50)")
{
    judge(link_to_another_chunk, LINKS_DISAGREE);
}

static void link_of_a_fast_bin(const void *arg)
{
    use_up_bins();
    char *p = guarded(100), *q = guarded(100);
    free(p);
    free(q);
    forged[1] = chunk_bytes(q) | P_BIT;
    words(q)[0] = (size_t)q >> 12 ^ (size_t)forged; /* protected as the real one was */
    safety->named = q;
    malloc(100);
}

TEST("a fast bin's link that leads to a forged chunk is not followed, protected or not (M-11, M-50)")
{
    judge(link_of_a_fast_bin, SINGLE_LINK);
}

static void size_of_top(const void *arg)
{
    use_up_bins();
    char *top = next_of(guarded(100));
    top = next_of(top);
    words(top)[-1] = ~(size_t)0;
    safety->named = top;
    malloc(2000);
}

TEST("the size of top is not believed (M-16, M-50)")
{
    judge(size_of_top, TOP);
}

static void size_of_a_mapped_block(const void *arg)
{
    char *p = malloc(1 << 20);
    words(p)[-1] += PAGE;
    safety->named = p;
    free(p);
}

TEST("the size of a mapped block is not believed: nothing else is unmapped (M-21, M-50)")
{
    judge(size_of_a_mapped_block, MAPPED_HEADER_BEFORE);
}

static void offset_of_a_mapped_block(const void *arg)
{
    char *p = malloc(1 << 20);
    words(p)[-2] += PAGE;
    safety->named = p;
    free(p);
}

TEST("the start of a mapped block is not believed: nothing else is unmapped (M-21, M-50)")
{
    judge(offset_of_a_mapped_block, MAPPED_HEADER_BEFORE);
}

QTEST_MAIN
