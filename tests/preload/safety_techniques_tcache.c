/*
 * Techniques against a thread cache (how2heap, tcache and safe-linking): none reaches its goal (M-50).
 */
/* not: check */
/* variants: default classic run_max0 notcache onearena */
#include "safety_attack.h"

/* One size as a cell or chunk, one that is always a chunk. */
static const size_t sizes[] = {24, 40, 128, 0x88, 0x100, 0x408, 0x410, 0x600, 0x1000};

static void try_all(safety_bug *technique)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        does_no_harm(technique, &sizes[i], "size %#zx", sizes[i]);
    safety_done();
}

#define SIZE(arg) (*(const size_t *)(arg))
#define CHUNK(n) (((n) + 8 + 15) / 16 * 16 < 32 ? 32 : ((n) + 8 + 15) / 16 * 16)

static void tcache_poisoning(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    drop(b);
    words(b)[0] = hidden(b, &target[8]);
    harvest(SIZE(arg));
}

static void tcache_poisoning_unhidden(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    drop(b);
    words(b)[0] = (size_t)&target[8];
    words(b)[1] = 0;
    harvest(SIZE(arg));
}

static void tcache_dup(const void *arg)
{
    char *a = take(SIZE(arg));
    target_is_ready();
    drop(a);
    words(a)[1] ^= 1; /* the key is gone */
    wrong_free(a);
    harvest(SIZE(arg));
}

static void tcache_dup_key_kept(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    size_t first = words(a)[0], second = words(a)[1];
    words(a)[0] = words(a)[1] = 0;
    wrong_free(a);
    drop(b);
    words(a)[0] = first;
    words(a)[1] = second; /* what a leak gave is put back */
    harvest(SIZE(arg));
}

static void tcache_house_of_spirit(const void *arg)
{
    void *fake = fake_chunk(8, CHUNK(SIZE(arg)));
    free(malloc(1));
    target_is_ready();
    wrong_free(fake);
    harvest(SIZE(arg));
}

/* Inside a live block, with everything about the fake chunk as in a real one: its size word is copied. */
static void tcache_house_of_spirit_inside(const void *arg)
{
    size_t n = SIZE(arg), chunk = CHUNK(n);
    char *big = take(4 * chunk + 64), *small = take(n);
    target_is_ready();
    for (size_t at = 16; at + chunk + 16 < 4 * chunk; at += chunk)
        words(big + at)[-1] = words(small)[-1];
    wrong_free(big + 16);
    harvest(n);
}

/* Blocks of the smallest size: interior addresses, with sizes written by the program. */
static void tcache_house_of_spirit_between(const void *arg)
{
    static char *a[20];
    for (int i = 0; i < 20; i++)
        a[i] = take(SIZE(arg));
    target_is_ready();
    for (int i = 0; i < 20; i++)
        for (size_t at = 8; at + 8 <= SIZE(arg); at += 16)
            words(a[i] + at)[0] = CHUNK(SIZE(arg)) | 1;
    wrong_free(a[10] + 16);
    harvest(SIZE(arg));
}

static void tcache_house_of_spirit_far_inside(const void *arg)
{
    static char *a[20];
    for (int i = 0; i < 20; i++)
        a[i] = take(24);
    target_is_ready();
    for (int i = 0; i < 20; i++)
        words(a[i])[1] = 0x20 * (SIZE(arg) % 7 + 1) | 1;
    wrong_free(a[8] + 16);
    harvest(0x20 * (SIZE(arg) % 7 + 1) - 8);
}

static void tcache_stashing_unlink(const void *arg)
{
    static char *filler[FILL], *small[20];
    size_t n = SIZE(arg);
    take_filler(filler, n);
    for (int i = 0; i < 20; i++) {
        small[i] = take(n);
        take(n + 512); /* apart */
    }
    fake_chunk(8, CHUNK(n));
    target[8 + 3] = (size_t)&target[64]; /* its bk: where the address is written */
    target_is_ready();
    drop_filler(filler);
    for (int i = 0; i < 20; i++)
        drop(small[i]);
    drop(take(n + 5000)); /* sorts the unsorted bin */
    for (int i = 0; i < FILL / 2; i++)
        take(n);
    words(small[10])[1] = (size_t)&target[8];
    for (int i = 0; i < 20; i++)
        take_zeroed(n);
    harvest(n);
}

/* Every aligned word near the first block that holds a pointer to a cached block or a count gets overwritten. */
static void tcache_metadata_poisoning(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    drop(b);
    size_t *page = (size_t *)((size_t)a & ~(size_t)0xfff);
    for (size_t *w = page; w < (size_t *)a - 2; w++)
        if (*w == (size_t)b || *w == (size_t)a)
            *w = (size_t)&target[8];
    harvest(SIZE(arg));
}

static void tcache_relative_write(const void *arg)
{
    char *a = take(SIZE(arg)), *big = take(0x500);
    target_is_ready();
    words(a)[-1] = 0x1000000 | 1; /* an index far beyond the table of bins */
    wrong_free(a);
    drop(big);
    harvest(SIZE(arg));
}

static void decrypt_safe_linking(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    drop(b);
    size_t link = words(b)[0], plain = 0;
    for (int shift = 52; shift >= 0; shift -= 12) /* high bits first */
        plain = link ^ (plain >> 12);
    words(b)[0] = link ^ plain ^ (size_t)&target[8];
    words(b)[1] = words(a)[1];
    harvest(SIZE(arg));
}

static void safe_link_double_protect(const void *arg)
{
    static char *a[6];
    for (int i = 0; i < 6; i++)
        a[i] = take(SIZE(arg));
    target_is_ready();
    for (int i = 0; i < 6; i++)
        drop(a[i]);
    words(a[5])[0] = hidden(a[5], a[5]); /* a list of which one link is a link's own address */
    words(a[4])[0] = hidden(a[4], (void *)hidden(a[5], &target[8]));
    harvest(SIZE(arg));
}

static void house_of_botcake(const void *arg)
{
    static char *filler[FILL];
    size_t n = SIZE(arg);
    take_filler(filler, n);
    char *prev = take(n), *a = take(n);
    take(16);
    target_is_ready();
    drop_filler(filler);
    drop(a);
    drop(prev); /* merges with a */
    take(n);    /* room in the cache */
    wrong_free(a);
    char *both = take(2 * CHUNK(n) - 8);
    if (both && both == prev)
        words(a)[0] = hidden(a, &target[8]);
    harvest(n);
}

static void house_of_io(const void *arg)
{
    char *a = take(SIZE(arg)), *b = take(SIZE(arg));
    target_is_ready();
    drop(a);
    drop(b);
    wrong_free((void *)words(b)[1]); /* the key was once the cache's address */
    harvest(SIZE(arg));
}

QTEST("tcache poisoning does not work (M-50)")
{
    try_all(tcache_poisoning);
    try_all(tcache_poisoning_unhidden);
}

QTEST("tcache dup does not work, with the key destroyed or put back (M-50)")
{
    try_all(tcache_dup);
    try_all(tcache_dup_key_kept);
}

QTEST("tcache house of spirit does not work (M-50)")
{
    try_all(tcache_house_of_spirit);
}

QTEST("house of spirit does not work inside a live block, with the size word of a real block copied (M-50)")
{
    /* A cell's header is bound to its class, not to its address: who can read one can copy it. docs/decisions/0001 */
    if (qt_conf_has("classic") || qt_conf_has("run_max:0"))
        try_all(tcache_house_of_spirit_inside);
}

QTEST("house of spirit does not work between small blocks whose contents look like sizes (M-50)")
{
    try_all(tcache_house_of_spirit_between);
    try_all(tcache_house_of_spirit_far_inside);
}

QTEST("tcache stashing unlink does not work (M-50)")
{
    try_all(tcache_stashing_unlink);
}

QTEST("tcache metadata poisoning and house of water do not work: the metadata is elsewhere (M-50)")
{
    try_all(tcache_metadata_poisoning);
}

QTEST("tcache relative write does not work (M-50)")
{
    try_all(tcache_relative_write);
}

QTEST("decrypting a safe link, and protecting one twice, do not help (M-50)")
{
    try_all(decrypt_safe_linking);
    try_all(safe_link_double_protect);
}

QTEST("house of botcake does not work (M-50)")
{
    try_all(house_of_botcake);
}

QTEST("house of io does not work (M-50)")
{
    try_all(house_of_io);
}

QTEST_MAIN
