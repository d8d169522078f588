#include "image.h"

#include "command.h"
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Pages are kept in blocks of 16, 64 KiB of address space each, found by a hash table. The copies lie one behind the other in
 * one large mapping, so that neighbours in the process are mostly neighbours here, and one iovec serves many pages.
 */
#define PAGE ((uint64_t)4096)
#define BLOCK_SHIFT 16
#define BLOCK_BYTES ((uint64_t)1 << BLOCK_SHIFT)
#define PAGES_PER_BLOCK (BLOCK_BYTES / PAGE)
#define IOVECS 1024
#define ALL_PAGES UINT16_MAX

struct block {
    uint64_t key;  /* address >> BLOCK_SHIFT, plus 1: 0 is an empty slot */
    uint32_t copy; /* number of its 64 KiB in the mapping */
    uint16_t copied, wanted;
    uint16_t zero; /* not present: reads as zero, and nothing need be copied */
    bool asked;    /* zero is known */
};

struct image {
    int pid, pagemap;
    const struct maps *maps;
    bool live;
    struct block *blocks; /* open addressing, linear probing, at most half full */
    size_t capacity, count;
    unsigned char *memory; /* reserved; used as far as `count` blocks go */
    uint64_t reserved;
    struct block *last;
    uint64_t bytes;
};

#define RESERVE ((uint64_t)1 << 42)

struct image *image_new(int pid, int pagemap, const struct maps *maps)
{
    struct image *im = allocate(sizeof *im);
    im->pid = pid;
    im->pagemap = pagemap;
    im->maps = maps;
    im->capacity = 1024;
    im->blocks = allocate(im->capacity * sizeof *im->blocks);
    /* Address space is free, but a limit may stand in the way: then less, down to what a small heap needs. */
    for (im->reserved = RESERVE; im->reserved >= BLOCK_BYTES * 64; im->reserved /= 2) {
        im->memory = mmap(NULL, im->reserved, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (im->memory != MAP_FAILED) {
            madvise(im->memory, im->reserved, MADV_HUGEPAGE);
            return im;
        }
    }
    exit(complain(EXIT_OURSELVES, "no address space for a copy: %s", strerror(errno)));
}

void image_free(struct image *im)
{
    munmap(im->memory, im->reserved);
    free(im->blocks);
    free(im);
}

uint64_t image_bytes(const struct image *im)
{
    return im->bytes;
}

void image_make_room(struct image *im)
{
    uint64_t from = im->count * BLOCK_BYTES, to = from + from / 4 + 64 * BLOCK_BYTES;
    for (uint64_t at = from; at < to && at < im->reserved; at += PAGE)
        im->memory[at] = 0;
}

void image_set_live(struct image *im, bool live)
{
    im->live = live;
}

void image_forget(struct image *im)
{
    for (size_t i = 0; i < im->capacity; i++) {
        struct block *b = &im->blocks[i];
        b->copied = b->wanted = b->zero = 0;
        b->asked = false;
    }
    im->bytes = 0;
}

/* ---- blocks ---- */

static struct block *probe(const struct image *im, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (im->capacity - 1);
    while (im->blocks[i].key && im->blocks[i].key != key)
        i = (i + 1) & (im->capacity - 1);
    return &im->blocks[i];
}

static void enlarge(struct image *im)
{
    struct image old = *im;
    im->capacity *= 2;
    im->blocks = allocate(im->capacity * sizeof *im->blocks);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.blocks[i].key)
            *probe(im, old.blocks[i].key) = old.blocks[i];
    free(old.blocks);
    im->last = NULL;
}

static struct block *find_block(struct image *im, uint64_t address, bool make)
{
    uint64_t key = (address >> BLOCK_SHIFT) + 1;
    if (im->last && im->last->key == key)
        return im->last;
    struct block *b = probe(im, key);
    if (!b->key) {
        if (!make || (im->count + 1) * BLOCK_BYTES > im->reserved)
            return NULL;
        if ((im->count + 1) * 2 > im->capacity) {
            enlarge(im);
            b = probe(im, key);
        }
        *b = (struct block){.key = key, .copy = (uint32_t)im->count++};
    }
    im->last = b;
    return b;
}

static uint64_t address_of(const struct block *b)
{
    return (b->key - 1) << BLOCK_SHIFT;
}

static unsigned char *copy_of(const struct image *im, const struct block *b)
{
    return im->memory + (uint64_t)b->copy * BLOCK_BYTES;
}

/* ---- copying ---- */

#define PRESENT_OR_SWAPPED (UINT64_C(3) << 62)

/*
 * Which pages of private memory are not there: they read as zero, and reading them over there would make them appear. Of files'
 * pages nothing can be said.
 */
static void ask_which_are_zero(const struct image *im, struct block *b)
{
    uint64_t entries[PAGES_PER_BLOCK], from = address_of(b);
    b->asked = true;
    b->zero = 0;
    if (im->pagemap < 0 || (size_t)sysconf(_SC_PAGESIZE) != PAGE ||
        pread(im->pagemap, entries, sizeof entries, (off_t)(from / PAGE * sizeof entries[0])) !=
            sizeof entries)
        return;
    for (unsigned i = 0; i < PAGES_PER_BLOCK; i++) {
        if (entries[i] & PRESENT_OR_SWAPPED)
            continue;
        const struct map *m = maps_find(im->maps, from + i * PAGE);
        if (m && !m->is_file && m->perms[0] == 'r' && m->perms[3] == 'p')
            b->zero |= (uint16_t)(1u << i);
    }
}

struct batch {
    struct iovec local[IOVECS], remote[IOVECS];
    struct {
        struct block *block;
        uint16_t pages;
    } parts[IOVECS];
    unsigned count;
};

/* The kernel stops at the first piece it cannot read; the others get their turn. */
static void flush(struct image *im, struct batch *t)
{
    unsigned done = 0;
    while (done < t->count) {
        ssize_t got =
            process_vm_readv(im->pid, t->local + done, t->count - done, t->remote + done, t->count - done, 0);
        if (got < 0)
            got = 0;
        while (done < t->count && (size_t)got >= t->local[done].iov_len) {
            got -= (ssize_t)t->local[done].iov_len;
            im->bytes += t->local[done].iov_len;
            t->parts[done].block->copied |= t->parts[done].pages;
            done++;
        }
        if (done == t->count)
            break;
        struct iovec *local = &t->local[done], *remote = &t->remote[done];
        uint16_t pages = t->parts[done].pages;
        unsigned char *to = local->iov_base, *from = remote->iov_base;
        unsigned first = (unsigned)__builtin_ctz(pages);
        for (size_t at = 0; at < local->iov_len; at += PAGE) {
            struct iovec l = {to + at, PAGE}, r = {from + at, PAGE};
            if (process_vm_readv(im->pid, &l, 1, &r, 1, 0) == (ssize_t)PAGE) {
                t->parts[done].block->copied |= (uint16_t)(1u << (first + at / PAGE));
                im->bytes += PAGE;
            }
        }
        done++;
    }
    t->count = 0;
}

/* Consecutive pages of a block are one piece. */
static void add_block(struct image *im, struct batch *t, struct block *b, uint16_t pages)
{
    while (pages) {
        unsigned first = (unsigned)__builtin_ctz(pages);
        unsigned length = (unsigned)__builtin_ctz(~((unsigned)pages >> first));
        uint16_t piece = (uint16_t)(((1u << length) - 1) << first);
        pages &= (uint16_t)~piece;
        if (t->count == IOVECS)
            flush(im, t);
        unsigned i = t->count++;
        t->local[i] = (struct iovec){copy_of(im, b) + first * PAGE, length * PAGE};
        t->remote[i] = (struct iovec){(void *)(uintptr_t)(address_of(b) + first * PAGE), length * PAGE};
        t->parts[i].block = b;
        t->parts[i].pages = piece;
    }
}

static uint16_t still_needed(struct image *im, struct block *b, uint16_t pages)
{
    pages &= (uint16_t)~b->copied;
    if (pages && !b->asked)
        ask_which_are_zero(im, b);
    uint16_t zero = pages & b->zero;
    for (uint16_t rest = zero; rest; rest &= (uint16_t)(rest - 1))
        memset(copy_of(im, b) + (unsigned)__builtin_ctz(rest) * PAGE, 0, PAGE);
    b->copied |= zero;
    return pages & (uint16_t)~zero;
}

static void fetch_block(struct image *im, struct block *b, uint16_t pages)
{
    static struct batch batch;
    pages = still_needed(im, b, pages);
    add_block(im, &batch, b, pages);
    flush(im, &batch);
}

void image_fetch(struct image *im)
{
    static struct batch batch;
    for (size_t i = 0; i < im->capacity; i++) {
        struct block *b = &im->blocks[i];
        if (b->key && b->wanted) {
            add_block(im, &batch, b, still_needed(im, b, b->wanted));
            b->wanted = 0;
        }
    }
    flush(im, &batch);
}

/* The pages of [from, to) that lie in the block of `from`. */
static uint16_t pages_between(uint64_t from, uint64_t to)
{
    uint64_t block = from & ~(BLOCK_BYTES - 1);
    unsigned first = (unsigned)((from - block) / PAGE);
    unsigned last = to - block >= BLOCK_BYTES ? PAGES_PER_BLOCK - 1 : (unsigned)((to - 1 - block) / PAGE);
    return (uint16_t)(ALL_PAGES << first & ALL_PAGES >> (PAGES_PER_BLOCK - 1 - last));
}

void image_want(struct image *im, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct block *b = find_block(im, from, true);
        if (b)
            b->wanted |= pages_between(from, to);
        from = (from | (BLOCK_BYTES - 1)) + 1;
    }
}

size_t image_read(void *context, uint64_t address, void *buffer, size_t length)
{
    struct image *im = context;
    size_t done = 0;
    if (address + length < address)
        return 0;
    while (done < length) {
        uint64_t at = address + done, in_block = at % BLOCK_BYTES;
        struct block *b = find_block(im, at, im->live);
        if (!b)
            return done;
        uint16_t pages = pages_between(at, address + length);
        if (im->live && (pages & ~b->copied))
            fetch_block(im, b, pages);
        uint16_t missing = pages & (uint16_t)~b->copied;
        uint64_t good = missing ? (unsigned)__builtin_ctz(missing) * PAGE : BLOCK_BYTES;
        if (good <= in_block)
            return done;
        size_t part = good - in_block < length - done ? good - in_block : length - done;
        memcpy((char *)buffer + done, copy_of(im, b) + in_block, part);
        done += part;
        if (missing && done < length)
            return done;
    }
    return done;
}
