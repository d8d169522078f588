/* not: musl */
/* variants: classic */
/*
 * Memory from the kernel as ptmalloc takes and returns it: the break, mappings, thresholds, trimming, laziness
 * (M-20..M-24, E-4, E-5), by addresses, sbrk(0), /proc/self/maps, mincore and fault counts. glibc 2.36 passes every
 * case.
 */
#include "mech_heap.h"

#define TEST(name) QTEST_X(name, .env = FRESH)

enum { K = 1024, PAD = 128 * K, MINSIZE = 32 };

static char *last_before_top(void)
{
    use_up_bins();
    char *p = malloc(2000);
    QT_CHECK(borders_top(p));
    return p;
}

/* --------------------------------------------------------------- M-20: the break */

TEST("when top is too small the break moves by the request, MINSIZE and top_pad, less what top has (M-20)")
{
    char *p = last_before_top();
    for (size_t n = 20000; n < 127 * K; n += 21000) {
        while (top_bytes_after(p) >= chunk_for(n) + MINSIZE)
            p = malloc(3000);
        size_t top = top_bytes_after(p);
        uintptr_t brk = brk_end();
        char *q = malloc(n);
        QT_EQ((uintptr_t)q, (uintptr_t)next_of(p)); /* contiguous: it begins in the old top */
        QT_EQ(brk_end() - brk, page_up(chunk_for(n) + PAD + MINSIZE - top));
        p = q;
    }
}

TEST("mallopt(M_TOP_PAD) sets how much more the break moves (M-20, M-41)")
{
    static const size_t pads[] = {0, 1 << 20, 64 * K};
    char *p = last_before_top();
    for (int i = 0; i < 3; i++) {
        QT_EQ(mallopt(M_TOP_PAD, (int)pads[i]), 1);
        while (top_bytes_after(p) >= chunk_for(50000) + MINSIZE)
            p = malloc(3000);
        size_t top = top_bytes_after(p);
        uintptr_t brk = brk_end();
        p = malloc(50000);
        QT_EQ(brk_end() - brk, page_up(chunk_for(50000) + pads[i] + MINSIZE - top));
    }
}

TEST("what top_pad asked for serves later requests without a system call (M-20)")
{
    char *p = last_before_top();
    while (top_bytes_after(p) >= 30000)
        p = malloc(3000);
    p = malloc(40000);
    uintptr_t brk = brk_end();
    for (size_t used = 0; used + 3000 < PAD - MINSIZE; used += chunk_for(3000))
        malloc(3000);
    QT_EQ(brk_end(), brk);
}

TEST("a foreign sbrk is stepped over, its memory is left alone, and the old top serves on (M-20)")
{
    char *p = last_before_top();
    size_t top = top_bytes_after(p);
    QT_CHECK(top > 20000);
    char *old_top = next_of(p), *foreign = sbrk(3 * PAGE);
    QT_EQ((uintptr_t)foreign, (uintptr_t)old_top - 16 + top);
    memset(foreign, 0x77, 3 * PAGE);
    for (int i = 0; i < 100; i++) {
        char *q = malloc(120 * K);
        QT_CHECK(q > foreign + 3 * PAGE || q + 120 * K < foreign);
        memset(q, i, 120 * K);
    }
    for (int i = 0; i < 3 * PAGE; i++)
        QT_EQ(foreign[i], 0x77);
    QT_EQ((uintptr_t)malloc(15000), (uintptr_t)old_top);
}

TEST("when the break cannot move the heap goes on in a mapping, whose chunks are the main arena's (M-20)")
{
    char *p = last_before_top(), *end = (char *)brk_end();
    void *wall = mmap(end, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    QT_EQ((uintptr_t)wall, (uintptr_t)end);
    char *q = p;
    for (int i = 0; i < 20 && in_brk(q); i++)
        QT_CHECK((q = malloc(60000)) != NULL);
    QT_CHECK(!in_brk(q));
    QT_EQ(head_of(q) & (A_BIT | M_BIT), 0);
    QT_EQ(brk_end(), (uintptr_t)end);
    char *r = malloc(60000); /* the mapping is at least 1 MiB: it serves again */
    QT_EQ((uintptr_t)r, (uintptr_t)next_of(q));
    memset(q, 1, 60000);
    memset(r, 2, 60000);
    free(q);
    free(r);
}

/* --------------------------------------------------------------- M-21: mappings, E-4 */

TEST("100k comes from brk, 200k from mmap, and freeing that removes its mapping at once (E-4, M-21)")
{
    char *a = malloc(100 * K), *b = malloc(200 * K);
    QT_CHECK(vma_of(a).heap && in_brk(a));
    struct vma v = vma_of(b);
    QT_CHECK(v.start && !v.heap && v.writable);
    QT_CHECK(v.start <= (uintptr_t)b - 16 && v.end >= (uintptr_t)b + 200 * K);
    QT_CHECK(head_of(b) & M_BIT);
    free(b);
    QT_EQ(vma_of(b).start, 0);
    QT_CHECK(!is_mapped(b) && !is_mapped(b + 200 * K - 1));
}

TEST("a mapped chunk starts its own pages and its size is whole pages (M-21)")
{
    for (size_t n = 200 * K; n < 300 * K; n += 1000) {
        char *p = malloc(n);
        QT_EQ((uintptr_t)p % PAGE, 16);
        QT_EQ(prev_size_of(p), 0);
        QT_EQ(chunk_bytes(p), page_up(chunk_for(n) + 8)); /* no chunk follows whose prev_size could be used */
        QT_EQ(malloc_usable_size(p), chunk_bytes(p) - 16);
    }
}

TEST("the mmap threshold is 128 KiB, of the chunk (M-21)")
{
    char *p = last_before_top();
    while (top_bytes_after(p) > 60000)
        p = malloc(3000);
    QT_CHECK(!(head_of(malloc(request_for(128 * K) - 16)) & M_BIT));
    p = last_before_top();
    while (top_bytes_after(p) > 60000)
        p = malloc(3000);
    QT_CHECK(head_of(malloc(request_for(128 * K))) & M_BIT);
}

TEST("a free chunk serves before a mapping is made (M-21, M-16)")
{
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    use_up_bins();
    char *a = malloc(100 * K), *b = guarded(100 * K);
    QT_EQ((uintptr_t)next_of(a), (uintptr_t)b);
    free(a);
    free(b);
    QT_EQ((uintptr_t)malloc(190 * K), (uintptr_t)a);
}

TEST("mallopt(M_MMAP_THRESHOLD) moves the threshold (M-21)")
{
    char *p = last_before_top();
    while (top_bytes_after(p) > 30000)
        p = malloc(3000);
    QT_EQ(mallopt(M_MMAP_THRESHOLD, 40000), 1);
    char *mapped = malloc(request_for(40000)), *not_mapped = malloc(request_for(40000) - 16);
    QT_CHECK(head_of(mapped) & M_BIT);
    QT_CHECK(!(head_of(not_mapped) & M_BIT));
}

TEST("mallopt(M_MMAP_MAX) limits the mappings of that kind; what is over comes from brk (M-21)")
{
    QT_EQ(mallopt(M_MMAP_MAX, 2), 1);
    char *a = malloc(300 * K), *b = malloc(300 * K), *c = malloc(300 * K);
    QT_CHECK(head_of(a) & M_BIT && head_of(b) & M_BIT);
    QT_CHECK(!(head_of(c) & M_BIT) && in_brk(c));
    free(a);
    QT_CHECK(head_of(malloc(300 * K)) & M_BIT);
    QT_EQ(mallopt(M_MMAP_MAX, 0), 1);
    QT_CHECK(!(head_of(malloc(8 << 20)) & M_BIT));
}

TEST("realloc of a mapped block moves pages, not bytes (M-21)")
{
    enum { MB = 1 << 20 };
    no_huge_pages();
    char *p = malloc(16 * MB);
    for (size_t i = 0; i < 16 * MB; i += PAGE)
        p[i] = (char)(i / PAGE * 7);
    long faults = minor_faults();
    for (int size = 32; size <= 256; size *= 2)
        p = realloc(p, (size_t)size * MB);
    QT_CHECK(head_of(p) & M_BIT);
    QT_CHECKF(minor_faults() - faults < 200, "%ld faults", minor_faults() - faults);
    QT_CHECK(resident_pages_inside(p, (size_t)256 * MB) <= 16 * MB / PAGE + 1);
    for (size_t i = 0; i < 16 * MB; i += PAGE)
        QT_EQ(p[i], (char)(i / PAGE * 7));
}

TEST("realloc of a mapped block to less returns the pages at its end at once (M-21)")
{
    enum { MB = 1 << 20 };
    char *p = malloc(16 * MB);
    memset(p, 1, 16 * MB);
    char *q = realloc(p, 2 * MB);
    QT_CHECK(head_of(q) & M_BIT);
    QT_EQ(chunk_bytes(q), page_up(chunk_for(2 * MB) + 8));
    QT_CHECK(!is_mapped(q + 3 * MB) && !is_mapped(q + 15 * MB));
    QT_EQ(q[2 * MB - 1], 1);
}

TEST("freeing a mapped block of large alignment leaves nothing mapped (M-21)")
{
    for (size_t alignment = 8192; alignment <= 16 << 20; alignment *= 2) {
        char *warm = memalign(alignment, 300 * K);
        free(warm);
        mallopt(M_MMAP_THRESHOLD, PAD); /* not dynamic, whatever was freed */
        long kib = qt_status_kib("VmSize:");
        char *p = memalign(alignment, 300 * K);
        QT_EQ((uintptr_t)p % alignment, 0);
        QT_CHECK(head_of(p) & M_BIT);
        memset(p, 1, 300 * K);
        free(p);
        QT_EQ(qt_status_kib("VmSize:"), kib);
    }
}

/* --------------------------------------------------------------- M-22: dynamic threshold */

TEST("freeing a mapped block raises the threshold to its size (M-22)")
{
    char *p = malloc(1000 * K);
    size_t size = chunk_bytes(p);
    QT_CHECK(head_of(p) & M_BIT);
    free(p);
    QT_CHECK(!(head_of(malloc(900 * K)) & M_BIT));
    QT_CHECK(!(head_of(malloc(request_for(size) - 16)) & M_BIT));
    use_up_bins();
    QT_CHECK(head_of(malloc(2000 * K)) & M_BIT);
}

TEST("the threshold rises to 32 MiB at most (M-22)")
{
    char *p = malloc((32 << 20) - 64 * K), *over = malloc(33 << 20);
    QT_CHECK(head_of(p) & M_BIT && head_of(over) & M_BIT);
    free(over);
    QT_CHECK(head_of(malloc(300 * K)) & M_BIT); /* not raised by what is above 32 MiB */
    free(p);
    QT_CHECK(!(head_of(malloc(31 << 20)) & M_BIT));
    QT_CHECK(head_of(malloc(33 << 20)) & M_BIT);
}

TEST("it also raises the trim threshold, to twice that size (M-22)")
{
    free(malloc(2000 * K));
    char *a = malloc(1900 * K), *b = malloc(1900 * K);
    QT_CHECK(in_brk(a) && in_brk(b) && borders_top(b));
    uintptr_t brk = brk_end();
    free(b);
    QT_EQ(brk_end(), brk); /* top is 2 MB: below 4 MB */
    free(a);
    QT_EQ(brk_end(), brk); /* 3.8 MB and the pad: still below 4000 KiB */
    a = malloc(1900 * K), b = malloc(1900 * K);
    char *c = malloc(1900 * K);
    QT_CHECK(in_brk(c));
    brk = brk_end();
    free(a);
    free(c);
    QT_EQ(brk_end(), brk);
    free(b);
    QT_CHECK(brk_end() < brk - 5000 * K);
}

struct setting {
    int parameter, value;
};

TEST("setting any of the four parameters by hand freezes the threshold (M-22)")
{
    static const struct setting settings[] = {
        {M_MMAP_THRESHOLD, 128 * K}, {M_TRIM_THRESHOLD, 128 * K}, {M_TOP_PAD, 128 * K}, {M_MMAP_MAX, 65536}};
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            QT_EQ(mallopt(settings[i].parameter, settings[i].value), 1);
            free(malloc(1000 * K));
            QT_CHECKF(head_of(malloc(900 * K)) & M_BIT, "parameter %d", settings[i].parameter);
            _exit(0);
        }
        qt_wait_exit(pid, 0);
    }
}

/* --------------------------------------------------------------- M-23: trim */

TEST("top above the trim threshold after a free is given back down to top_pad (M-23)")
{
    char *p = last_before_top();
    while (top_bytes_after(p) > 3000 + MINSIZE)
        p = malloc(2000);
    p = malloc(120 * K); /* top is now about the pad */
    size_t top = top_bytes_after(p), whole = top + chunk_bytes(p);
    QT_CHECK(whole > 128 * K);
    uintptr_t brk = brk_end();
    free(p);
    size_t extra = (whole - MINSIZE - 1 - PAD) / PAGE * PAGE;
    QT_EQ(brk - brk_end(), extra);
    QT_EQ(chunk_bytes(p), whole - extra);
}

TEST("top below the trim threshold stays (M-23)")
{
    QT_EQ(mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
    char *p = last_before_top();
    uintptr_t start = brk_end();
    (void)p;
    char *a = malloc(100 * K), *b = malloc(100 * K), *c = malloc(100 * K);
    uintptr_t brk = brk_end();
    QT_CHECK(brk > start);
    free(a);
    free(b);
    free(c);
    QT_EQ(brk_end(), brk);
}

TEST("malloc_trim(pad) gives top back but for pad and says so; a second call finds nothing (M-23)")
{
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    char *p = last_before_top(), *a = malloc(100 * K), *b = malloc(120 * K);
    (void)p;
    free(a);
    free(b);
    uintptr_t brk = brk_end(), top = (uintptr_t)a - 16;
    QT_EQ(malloc_trim(64 * K), 1);
    QT_CHECK(brk_end() < brk);
    QT_CHECK(brk_end() - top >= 64 * K && brk_end() - top <= 64 * K + MINSIZE + PAGE + 1);
    QT_EQ(malloc_trim(0), 1);
    QT_CHECK(brk_end() - top <= MINSIZE + PAGE + 1);
    QT_EQ(malloc_trim(0), 0);
}

TEST("malloc_trim releases whole free pages inside the heap and keeps what is live (M-23)")
{
    no_huge_pages();
    use_up_bins();
    char *hole = malloc(120 * K), *live = malloc(2000);
    memset(hole, 1, 120 * K);
    memset(live, 2, 2000);
    free(hole);
    QT_EQ(resident_pages_inside(hole, 120 * K), whole_pages_inside(hole, 120 * K));
    uintptr_t brk = brk_end();
    malloc_trim(1 << 20);
    QT_EQ(brk_end(), brk);
    QT_CHECK(resident_pages_inside(hole, 120 * K) <= 1); /* one page may hold the links */
    for (int i = 0; i < 2000; i++)
        QT_EQ(live[i], 2);
    QT_EQ((uintptr_t)malloc(120 * K), (uintptr_t)hole);
    memset(hole, 3, 120 * K);
}

/* --------------------------------------------------------------- M-24: laziness, E-5 */

TEST("no page inside a fresh block is resident; after memset exactly the touched ones are (E-5, M-24)")
{
    no_huge_pages();
    use_up_bins();
    malloc(100 * K);
    char *p = malloc(100 * K);
    QT_CHECK(in_brk(p));
    QT_EQ(resident_pages_inside(p + 16, 100 * K - 16), 0);
    char *page = (char *)page_up((uintptr_t)p + 16);
    long faults = minor_faults();
    for (int pages = 1; pages <= 20; pages++) {
        memset(page, 1, (size_t)pages * PAGE - 100);
        QT_EQ(resident_pages_inside(page, 20 * PAGE), pages);
    }
    faults = minor_faults() - faults;
    QT_CHECKF(faults >= 20 && faults <= 24, "%ld faults", faults);
}

TEST("malloc(100) inside a touched page faults nothing; its first touch of a fresh page faults once (E-5)")
{
    no_huge_pages();
    char *p = last_before_top();
    while ((uintptr_t)next_of(p) % PAGE < 500 || (uintptr_t)next_of(p) % PAGE > 3500)
        p = malloc(24);
    minor_faults();
    long faults = minor_faults();
    char *q = malloc(100);
    QT_EQ(minor_faults() - faults, 0);
    QT_EQ((uintptr_t)q, (uintptr_t)next_of(p));

    char *big = malloc(300 * K);
    QT_CHECK(head_of(big) & M_BIT);
    faults = minor_faults();
    big[8 * PAGE] = 1;
    big[8 * PAGE + 100] = 1;
    QT_EQ(minor_faults() - faults, 1);
}

TEST("a mapped block costs its header's page only, by calloc as by malloc (M-24)")
{
    no_huge_pages();
    char *p = malloc(64 << 20), *q = calloc(64, 1 << 20);
    QT_CHECK(resident_pages_inside(p - 16, (64 << 20) + 16) <= 1);
    QT_CHECK(resident_pages_inside(q - 16, (64 << 20) + 16) <= 1);
    for (size_t i = 0; i < 64 << 20; i += 100003)
        QT_EQ(q[i], 0);
}

QTEST_MAIN
