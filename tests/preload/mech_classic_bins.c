/* not: musl */
/* variants: classic */
/*
 * The bins of an arena as ptmalloc has them: fast, unsorted, small, large, binmap, top, last remainder, consolidation
 * (M-11..M-18), seen without a thread cache. glibc 2.36 passes every case.
 */
#include "mech_heap.h"

#define TEST(name) QTEST_X(name, .env = NO_TCACHE)

/* Lets blocks of up to 32 MiB come from the break and stay there. */
static void all_from_brk(void)
{
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

/* As sort_unsorted, above any size that the case frees. */
static void sort_unsorted_over(size_t n)
{
    char *p = malloc(n + 1024);
    QT_CHECK(p && borders_top(p));
}

/* --------------------------------------------------------------- M-11: fast bins */

TEST("fast bins are LIFO (M-11)")
{
    use_up_bins();
    for (size_t n = 24; n <= 120; n += 16) {
        char *a = guarded(n), *b = guarded(n), *c = guarded(n);
        free(a);
        free(b);
        free(c);
        QT_EQ((uintptr_t)malloc(n), (uintptr_t)c);
        QT_EQ((uintptr_t)malloc(n), (uintptr_t)b);
        QT_EQ((uintptr_t)malloc(n), (uintptr_t)a);
    }
}

TEST("a chunk in a fast bin keeps its in-use mark and is not coalesced (M-11)")
{
    use_up_bins();
    char *a = malloc(100), *b = malloc(100), *c = guarded(100);
    QT_CHECK(next_of(a) == b && next_of(b) == c);
    free(a);
    free(b);
    free(c);
    QT_CHECK(in_use(a) && in_use(b) && in_use(c));
    QT_EQ(chunk_bytes(a), chunk_for(100));
    QT_CHECK((char *)malloc(200) > c);
}

TEST("a chunk in a fast bin stays one even where it borders top (M-11)")
{
    use_up_bins();
    char *a = malloc(100);
    size_t top = top_bytes_after(a);
    free(a);
    QT_EQ(chunk_bytes(next_of(a)), top);
    QT_EQ((uintptr_t)malloc(100), (uintptr_t)a);
}

/* The stored link is the address of the field, less its low 12 bits, xor the chunk it names. */
static uintptr_t safe_link(const void *field, const void *mem)
{
    return (uintptr_t)field >> 12 ^ (mem ? (uintptr_t)mem - 16 : 0);
}

TEST("fast bin links are singly linked and protected (M-11, M-50)")
{
    use_up_bins();
    char *a = guarded(72), *b = guarded(72), *c = guarded(72);
    free(a);
    free(b);
    free(c);
    QT_EQ(*(uintptr_t *)a, safe_link(a, NULL));
    QT_EQ(*(uintptr_t *)b, safe_link(b, a));
    QT_EQ(*(uintptr_t *)c, safe_link(c, b));
}

TEST("fast bins hold chunks up to 128 (M-11)")
{
    use_up_bins();
    char *fast = guarded(120), *not_fast = guarded(121);
    free(fast);
    free(not_fast);
    QT_CHECK(in_use(fast));
    QT_CHECK(!in_use(not_fast));
}

TEST("each fast bin holds one size (M-11)")
{
    use_up_bins();
    for (size_t n = 24; n < 120; n += 16) {
        char *p = guarded(n + 16);
        free(p);
        char *q = malloc(n);
        QT_CHECK(q != p);
        QT_EQ((uintptr_t)malloc(n + 16), (uintptr_t)p);
    }
}

TEST("mallopt(M_MXFAST) moves the limit of the fast bins, to 0 and to 160 (M-11, M-41)")
{
    use_up_bins();
    QT_EQ(mallopt(M_MXFAST, 160), 1);
    char *p = guarded(152), *q = guarded(153);
    free(p);
    free(q);
    QT_CHECK(in_use(p));
    QT_CHECK(!in_use(q));
    QT_EQ(mallopt(M_MXFAST, 161), 0);
    QT_EQ((uintptr_t)malloc(152), (uintptr_t)p);

    QT_EQ(mallopt(M_MXFAST, 0), 1);
    use_up_bins();
    p = guarded(24);
    free(p);
    QT_CHECK(!in_use(p));
}

/* --------------------------------------------------------------- M-12: the unsorted bin */

TEST("what does not fit gets its one chance and is then sorted (M-12)")
{
    use_up_bins();
    char *x = guarded(2000), *y = guarded(3000);
    free(x);
    char *unsorted = fd_of(x);
    free(y);
    QT_EQ((uintptr_t)fd_of(y), (uintptr_t)x); /* both in the unsorted bin */
    QT_EQ((uintptr_t)bk_of(y), (uintptr_t)unsorted);
    sort_unsorted();
    QT_EQ((uintptr_t)fd_of(x), (uintptr_t)bk_of(x));
    QT_CHECK(fd_of(x) != unsorted);
    QT_EQ((uintptr_t)fd_of(y), (uintptr_t)bk_of(y));
    QT_CHECK(fd_of(y) != unsorted && fd_of(y) != fd_of(x));
}

TEST("an exact fit ends the walk: what was freed later stays unsorted (M-12)")
{
    use_up_bins();
    char *x = guarded(2000), *y = guarded(3000), *z = guarded(4000);
    free(x);
    char *unsorted = fd_of(x);
    free(y);
    free(z);
    QT_EQ((uintptr_t)malloc(3000), (uintptr_t)y);
    QT_CHECK(fd_of(x) != unsorted);                  /* oldest: looked at first, sorted */
    QT_EQ((uintptr_t)fd_of(z), (uintptr_t)unsorted); /* youngest: not reached */
    QT_EQ((uintptr_t)bk_of(z), (uintptr_t)unsorted);
}

TEST("an exact fit in the unsorted bin is taken before a better place is looked for (M-12)")
{
    use_up_bins();
    char *x = guarded(5000), *y = guarded(2000);
    free(x);
    free(y);
    QT_EQ((uintptr_t)malloc(2000), (uintptr_t)y);
    QT_CHECK(!in_use(x));
}

TEST("a chunk in the unsorted bin is served on the next malloc that it can serve (M-12)")
{
    use_up_bins();
    char *x = guarded(5000);
    free(x);
    QT_EQ((uintptr_t)malloc(3000), (uintptr_t)x);
}

/* --------------------------------------------------------------- M-13: small bins */

TEST("small bins are FIFO (M-13)")
{
    use_up_bins();
    char *a = guarded(504), *b = guarded(504), *c = guarded(504);
    free(a);
    free(b);
    free(c);
    sort_unsorted();
    QT_EQ((uintptr_t)malloc(504), (uintptr_t)a);
    QT_EQ((uintptr_t)malloc(504), (uintptr_t)b);
    QT_EQ((uintptr_t)malloc(504), (uintptr_t)c);
}

TEST("a small bin is doubly linked and circular, youngest first (M-13)")
{
    use_up_bins();
    char *a = guarded(504), *b = guarded(504), *c = guarded(504);
    free(a);
    char *unsorted = fd_of(a);
    free(b);
    free(c);
    sort_unsorted();
    char *bin = fd_of(a);
    QT_CHECK(bin != unsorted);
    const char *expected[] = {bin, c, b, a, bin};
    for (int i = 0; i < 4; i++) {
        QT_EQ((uintptr_t)fd_of(expected[i]), (uintptr_t)expected[i + 1]);
        QT_EQ((uintptr_t)bk_of(expected[i + 1]), (uintptr_t)expected[i]);
    }
}

/* The mem of the bin in which the one chunk of this size lands when it is sorted. */
static char *bin_for_chunk(size_t chunk)
{
    char *p = guarded(request_for(chunk));
    memset(p, 0, 24);
    free(p);
    sort_unsorted_over(chunk);
    char *bin = fd_of(p);
    QT_EQ((uintptr_t)bk_of(p), (uintptr_t)bin);
    QT_EQ((uintptr_t)malloc(request_for(chunk)), (uintptr_t)p);
    return bin;
}

TEST("every size below 1024 has a small bin of its own, 16 apart, in one array (M-13)")
{
    mallopt(M_MXFAST, 0);
    use_up_bins();
    char *first = bin_for_chunk(32);
    for (size_t chunk = 32; chunk < 1024; chunk += 16) {
        char *bin = bin_for_chunk(chunk);
        QT_EQ(bin - first, (long)(chunk - 32)); /* bins are two pointers each: 16 bytes for 16 bytes */
    }
    QT_EQ(bin_for_chunk(1024) - first, 62 * 16); /* the first large bin follows */
    QT_EQ((uintptr_t)bin_for_chunk(1024), (uintptr_t)bin_for_chunk(1024 + 48));
}

/* --------------------------------------------------------------- M-14: large bins */

/* glibc 2.36's largebin_index for 64-bit words. */
static unsigned large_index(size_t chunk)
{
    return chunk >> 6 <= 48    ? 48 + (unsigned)(chunk >> 6)
           : chunk >> 9 <= 20  ? 91 + (unsigned)(chunk >> 9)
           : chunk >> 12 <= 10 ? 110 + (unsigned)(chunk >> 12)
           : chunk >> 15 <= 4  ? 119 + (unsigned)(chunk >> 15)
           : chunk >> 18 <= 2  ? 124 + (unsigned)(chunk >> 18)
                               : 126;
}

TEST("large bins widen with the index: 64, 512, 4096, 32768, 262144 apart, the rest (M-14)")
{
    mallopt(M_MXFAST, 0);
    all_from_brk();
    use_up_bins();
    char *bins1 = bin_for_chunk(32) - 32; /* small bin 2 is that of 32 */
    for (size_t chunk = 1024; chunk <= 2 << 20;) {
        long index = (bin_for_chunk(chunk) - bins1) / 16;
        QT_CHECKF(index == (long)large_index(chunk), "chunk %zu: bin %ld, not %u", chunk, index,
                  large_index(chunk));
        size_t next = chunk + 16; /* both sides of every border, and some between */
        while (next < 2 << 20 && large_index(next) == large_index(chunk) &&
               large_index(next + 16) == large_index(chunk))
            next += 16;
        chunk = next;
    }
}

TEST("a large bin is sorted by size, equal sizes together, nextsize skipping over them (M-14)")
{
    enum { N = 8 };
    /* One bin, 2048..2111; order of freeing is not order of size. */
    static const size_t sizes[N] = {2064, 2096, 2048, 2064, 2080, 2064, 2096, 2048};
    char *p[N];
    use_up_bins();
    for (int i = 0; i < N; i++)
        p[i] = guarded(request_for(sizes[i]));
    for (int i = 0; i < N; i++)
        free(p[i]);
    sort_unsorted();

    char *largest = p[1], *bin = bk_of(largest);
    QT_EQ((uintptr_t)fd_of(bin), (uintptr_t)largest);
    size_t before = SIZE_MAX, seen = 0;
    char *leaders[4];
    int leader = 0;
    for (char *c = largest; c != bin; before = chunk_bytes(c), c = fd_of(c), seen++) {
        QT_CHECK(chunk_bytes(c) <= before);
        QT_EQ((uintptr_t)bk_of(fd_of(c)), (uintptr_t)c);
        if (chunk_bytes(c) != before)
            leaders[leader++] = c;
        else
            QT_EQ((uintptr_t)fd_nextsize_of(c), 16); /* not in the ring of sizes */
    }
    QT_EQ(seen, N);
    QT_EQ(leader, 4);
    for (int i = 0; i < 4; i++) {
        QT_EQ((uintptr_t)fd_nextsize_of(leaders[i]), (uintptr_t)leaders[(i + 1) % 4]);
        QT_EQ((uintptr_t)bk_nextsize_of(leaders[(i + 1) % 4]), (uintptr_t)leaders[i]);
    }
    /* The first of a size stays its leader; the next of it come right behind, youngest first. */
    QT_EQ((uintptr_t)leaders[0], (uintptr_t)p[1]);
    QT_EQ((uintptr_t)leaders[2], (uintptr_t)p[0]);
    QT_EQ((uintptr_t)fd_of(p[0]), (uintptr_t)p[5]);
    QT_EQ((uintptr_t)fd_of(p[5]), (uintptr_t)p[3]);
}

TEST("large bins serve the best fit (M-14)")
{
    use_up_bins();
    char *a = guarded(40000), *b = guarded(50000), *c = guarded(45000), *d = guarded(60000);
    free(d);
    free(a);
    free(b);
    free(c);
    sort_unsorted();
    QT_EQ((uintptr_t)malloc(44000), (uintptr_t)c);
    QT_EQ((uintptr_t)malloc(44000), (uintptr_t)b);
    QT_EQ((uintptr_t)malloc(44000), (uintptr_t)d);
    QT_EQ((uintptr_t)malloc(39000), (uintptr_t)a);
}

TEST("of several best fits of one size, the leader of that size is taken last (M-14)")
{
    use_up_bins();
    char *a = guarded(2040), *b = guarded(2040), *c = guarded(2040);
    free(a);
    free(b);
    free(c);
    sort_unsorted();
    QT_EQ((uintptr_t)malloc(2040), (uintptr_t)c);
    QT_EQ((uintptr_t)malloc(2040), (uintptr_t)b);
    QT_EQ((uintptr_t)malloc(2040), (uintptr_t)a);
}

TEST("when the leader of a size is merged away, the next of that size takes its place (M-14)")
{
    use_up_bins();
    char *front = malloc(request_for(2064)), *leader = guarded(request_for(2064));
    QT_EQ((uintptr_t)next_of(front), (uintptr_t)leader);
    char *next = guarded(request_for(2064)), *less = guarded(request_for(2048)),
         *more = guarded(request_for(2096));
    free(leader);
    free(next);
    free(less);
    free(more);
    sort_unsorted();
    QT_EQ((uintptr_t)fd_nextsize_of(leader), (uintptr_t)less);
    free(front);
    QT_EQ((uintptr_t)fd_nextsize_of(next), (uintptr_t)less);
    QT_EQ((uintptr_t)bk_nextsize_of(next), (uintptr_t)more);
    QT_EQ((uintptr_t)bk_nextsize_of(less), (uintptr_t)next);
    QT_EQ((uintptr_t)fd_nextsize_of(more), (uintptr_t)next);
}

/* --------------------------------------------------------------- M-15: binmap */

TEST("a chunk in any bin is found for a smaller request, whatever the bins between (M-15)")
{
    mallopt(M_MXFAST, 0);
    all_from_brk();
    use_up_bins();
    for (size_t chunk = 64; chunk <= 4 << 20; chunk += chunk < 1024 ? 16 : chunk / 16 & ~(size_t)15) {
        char *p = guarded(request_for(chunk));
        free(p);
        sort_unsorted_over(chunk);
        QT_CHECKF(malloc(24) == p, "chunk %zu", chunk);
        QT_EQ((uintptr_t)malloc(request_for(chunk - 32)),
              (uintptr_t)p + 32); /* the rest, whole: bins empty again */
    }
}

TEST("the next larger bin that is not empty serves, not one further up (M-15)")
{
    mallopt(M_MXFAST, 0);
    use_up_bins();
    static const size_t chunks[] = {48, 512, 1008, 1536, 4096, 12288, 40960, 81920};
    enum { N = sizeof chunks / sizeof *chunks };
    char *p[N];
    for (int i = 0; i < N; i++)
        p[i] = guarded(request_for(chunks[i]));
    for (int i = N; i-- > 0;)
        free(p[i]);
    sort_unsorted();
    for (int i = 0; i < N; i++) {
        QT_EQ((uintptr_t)malloc(request_for(chunks[i] - 16)), (uintptr_t)p[i]);
        QT_EQ(chunk_bytes(p[i]), chunks[i]);
    }
}

/* --------------------------------------------------------------- M-16: top */

TEST("top is used last: only when no free chunk serves (M-16)")
{
    use_up_bins();
    while (top_bytes_after(malloc(24)) < 60000) /* top would serve, too */
        malloc(20000);
    char *a = guarded(30000);
    free(a);
    char *last = next_of(next_of(a)); /* top */
    size_t top = chunk_bytes(last);
    QT_EQ((uintptr_t)malloc(20000), (uintptr_t)a);
    QT_EQ(chunk_bytes(last), top);
    char *p = malloc(20000);
    QT_EQ((uintptr_t)p, (uintptr_t)last);
    QT_CHECK(borders_top(p));
}

TEST("top shrinks by what is cut from it and stays where brk does (M-16)")
{
    use_up_bins();
    malloc(60000);
    char *p = malloc(24);
    size_t top = top_bytes_after(p);
    uintptr_t brk = brk_end();
    for (size_t n = 100; n < 3000 && top > 10000; n += 100) {
        p = malloc(n);
        top -= chunk_for(n);
        QT_EQ(top_bytes_after(p), top);
        QT_CHECK(head_of(next_of(p)) & P_BIT);
    }
    QT_EQ(brk_end(), brk);
}

/* --------------------------------------------------------------- M-17: last remainder */

TEST("consecutive small requests are cut from the last remainder, side by side (M-17)")
{
    mallopt(M_MXFAST, 0);
    use_up_bins();
    char *x = guarded(8000), *decoy = guarded(300), *other = guarded(3000);
    free(x);
    free(decoy);
    free(other);
    sort_unsorted();
    QT_EQ((uintptr_t)malloc(3000), (uintptr_t)other);
    char *before = malloc(400); /* no chunk is nearer than x: x is split */
    QT_EQ((uintptr_t)before, (uintptr_t)x);
    static const size_t sizes[] = {280, 40, 500, 280, 1000, 24};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = malloc(sizes[i]); /* 280 would fit the decoy better */
        QT_EQ((uintptr_t)p, (uintptr_t)next_of(before));
        before = p;
    }
    QT_CHECK(!in_use(decoy));
}

TEST(
    "without locality a request takes the better fit: the remainder of a large request is no last remainder (M-17)")
{
    mallopt(M_MXFAST, 0);
    use_up_bins();
    char *x = guarded(8000), *decoy = guarded(300);
    free(decoy);
    free(x);
    sort_unsorted();
    QT_EQ((uintptr_t)malloc(2000), (uintptr_t)x);
    QT_EQ((uintptr_t)malloc(280), (uintptr_t)decoy);
}

/* --------------------------------------------------------------- M-18: consolidation */

struct fast_pair {
    char *a, *b;
};

/* Two neighbours in the fast bins, with `keep` of top left so that only what the case names can consolidate. */
static struct fast_pair fast_pair(void)
{
    struct fast_pair pair;
    use_up_bins();
    malloc(110 * 1024);
    malloc(24);
    pair.a = malloc(100);
    pair.b = guarded(100);
    QT_EQ((uintptr_t)next_of(pair.a), (uintptr_t)pair.b);
    free(pair.a);
    free(pair.b);
    QT_CHECK(in_use(pair.a) && in_use(pair.b));
    return pair;
}

static bool merged(struct fast_pair pair)
{
    return chunk_bytes(pair.a) == 2 * chunk_for(100) && !in_use(pair.a);
}

TEST("a request of 1024 or more consolidates the fast bins, a smaller one does not (M-18)")
{
    struct fast_pair pair = fast_pair();
    malloc(request_for(1008));
    QT_CHECK(in_use(pair.b) && chunk_bytes(pair.a) == chunk_for(100));
    malloc(request_for(1024));
    QT_CHECK(merged(pair));
    QT_EQ((uintptr_t)malloc(200), (uintptr_t)pair.a);
}

TEST("freeing what coalesces to 64 KiB or more consolidates, less does not (M-18)")
{
    use_up_bins();
    char *less = guarded(request_for(65536 - 16)), *enough = guarded(request_for(65536));
    struct fast_pair pair = fast_pair();
    free(less);
    QT_CHECK(!in_use(less));
    QT_CHECK(in_use(pair.b) && chunk_bytes(pair.a) == chunk_for(100));
    free(enough);
    QT_CHECK(merged(pair));
}

TEST("it is the size after coalescing that counts for consolidation (M-18)")
{
    use_up_bins();
    char *half1 = malloc(40000), *half2 = guarded(40000);
    QT_EQ((uintptr_t)next_of(half1), (uintptr_t)half2);
    struct fast_pair pair = fast_pair();
    free(half1);
    QT_CHECK(in_use(pair.b) && chunk_bytes(pair.a) == chunk_for(100));
    free(half2);
    QT_CHECK(merged(pair));
}

TEST("malloc_trim consolidates (M-18, M-23)")
{
    struct fast_pair pair = fast_pair();
    malloc_trim(1 << 20);
    QT_CHECK(merged(pair));
}

TEST("what consolidation merges goes to the unsorted bin (M-18, M-12)")
{
    use_up_bins();
    char *later = guarded(2000);
    struct fast_pair pair = fast_pair();
    malloc_trim(1 << 20);
    QT_EQ((uintptr_t)fd_of(pair.a), (uintptr_t)bk_of(pair.a));
    free(later); /* goes to the front of the unsorted bin, so what is behind it there is in it too */
    QT_EQ((uintptr_t)fd_of(later), (uintptr_t)pair.a);
    QT_EQ((uintptr_t)bk_of(pair.a), (uintptr_t)later);
}

TEST("consolidation merges a fast chunk at the border of top into top (M-18)")
{
    use_up_bins();
    char *a = malloc(100);
    size_t top = top_bytes_after(a);
    free(a);
    malloc_trim(8 << 20);
    QT_EQ(chunk_bytes(a), chunk_for(100) + top);
}

QTEST_MAIN
