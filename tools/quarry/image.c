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
 * What is copied is lines: a link of a free chunk is one or two of them, and a page of it would take four times as
 * long. Lines are known in blocks of 64 KiB of address space, found by a hash table. Each page with a line has a page
 * here, all in one large mapping in the order in which they were first wanted: no room is lost between pages that are
 * far apart, and neighbours in the process are mostly neighbours here, so that one iovec serves many.
 */
#define PAGE ((uint64_t)4096)
#define LINE IMAGE_LINE
#define BLOCK_SHIFT 16
#define BLOCK_BYTES ((uint64_t)1 << BLOCK_SHIFT)
#define PAGES_PER_BLOCK (BLOCK_BYTES / PAGE)
#define LINES_PER_PAGE (PAGE / LINE)
#define IOVECS 1024

struct block {
    uint64_t key;                     /* address >> BLOCK_SHIFT */
    uint32_t copies[PAGES_PER_BLOCK]; /* number of each page's copy, plus 1; 0: it has none yet */
    uint16_t known[PAGES_PER_BLOCK], wanted[PAGES_PER_BLOCK]; /* a bit a line */
    uint16_t zero; /* pages that are not present in the process: read as zero, and have no copy */
    bool asked;    /* which are present */
    bool wants;    /* some line */
};

struct image {
    int pid, pagemap;
    const struct maps *maps;
    bool live;
    struct block *blocks; /* in the order in which they were first wanted: mostly by address */
    size_t count;
    uint32_t *slots; /* number of a block, plus 1; open addressing, linear probing, at most half full */
    size_t slot_count;
    unsigned char *memory; /* reserved; used as far as `copies` pages go */
    uint64_t reserved;
    uint32_t copies;
    uint64_t bytes, zeros; /* known: copied, and of pages that read as zero */
};

#define RESERVE ((uint64_t)1 << 42)

struct image *image_new(int pid, int pagemap, const struct maps *maps)
{
    struct image *im = allocate(sizeof *im);
    im->pid = pid;
    im->pagemap = pagemap;
    im->maps = maps;
    im->slot_count = 1024;
    im->slots = allocate(im->slot_count * sizeof *im->slots);
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
    free(im->slots);
    free(im);
}

uint64_t image_bytes(const struct image *im)
{
    return im->bytes;
}

/* Those of the marks of 128 GiB. */
#define MOST_ZEROS ((uint64_t)2 << 30)

uint64_t image_there(const void *image)
{
    const struct image *im = image;
    return im->bytes + (im->zeros < MOST_ZEROS ? im->zeros : MOST_ZEROS) / 16;
}

/* A small heap may have grown to five times what it was. Clearing more would be most of what looking at it costs. */
void image_make_room(struct image *im)
{
    uint64_t from = im->copies * PAGE, most = 64 * BLOCK_BYTES;
    uint64_t to = from + from / 4 + (from * 4 < most ? from * 4 : most);
    for (uint64_t at = from; at < to && at < im->reserved; at += PAGE)
        im->memory[at] = 0;
}

void image_set_live(struct image *im, bool live)
{
    im->live = live;
}

/*
 * A page that was there is taken to be there still. One that was not must be asked for again: reading it would make it
 * appear.
 */
void image_forget(struct image *im)
{
    for (size_t i = 0; i < im->count; i++) {
        struct block *b = &im->blocks[i];
        for (unsigned page = 0; page < PAGES_PER_BLOCK; page++)
            b->wanted[page] |= b->known[page];
        memset(b->known, 0, sizeof b->known);
        b->wants = true;
        b->asked &= b->zero == 0;
        b->zero = 0;
    }
    im->bytes = im->zeros = 0;
}

/* ---- blocks ---- */

static uint32_t *probe(const struct image *im, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (im->slot_count - 1);
    while (im->slots[i] && im->blocks[im->slots[i] - 1].key != key)
        i = (i + 1) & (im->slot_count - 1);
    return &im->slots[i];
}

static void enlarge(struct image *im)
{
    free(im->slots);
    im->slot_count *= 2;
    im->slots = allocate(im->slot_count * sizeof *im->slots);
    for (size_t i = 0; i < im->count; i++)
        *probe(im, im->blocks[i].key) = (uint32_t)i + 1;
}

static struct block *find_block(struct image *im, uint64_t address, bool make)
{
    uint64_t key = address >> BLOCK_SHIFT;
    uint32_t *slot = probe(im, key);
    if (*slot)
        return &im->blocks[*slot - 1];
    if (!make)
        return NULL;
    if ((im->count + 1) * 2 > im->slot_count) {
        enlarge(im);
        slot = probe(im, key);
    }
    im->blocks = grow(im->blocks, im->count, sizeof *im->blocks);
    im->blocks[im->count] = (struct block){.key = key};
    *slot = (uint32_t)++im->count;
    return &im->blocks[im->count - 1];
}

static uint64_t address_of(const struct block *b)
{
    return b->key << BLOCK_SHIFT;
}

/* Where a page is copied to; NULL: there is no room. */
static unsigned char *copy_of(struct image *im, struct block *b, unsigned page)
{
    if (!b->copies[page]) {
        if ((im->copies + UINT64_C(1)) * PAGE > im->reserved)
            return NULL;
        b->copies[page] = ++im->copies;
    }
    return im->memory + (b->copies[page] - UINT64_C(1)) * PAGE;
}

/* ---- copying ---- */

#define PRESENT_OR_SWAPPED (UINT64_C(3) << 62)
#define BLOCKS_ASKED_AT_ONCE 256

static uint16_t absent_pages(const struct image *im, const struct block *b, const uint64_t *entries)
{
    uint16_t absent = 0;
    for (unsigned i = 0; i < PAGES_PER_BLOCK; i++) {
        if (entries[i] & PRESENT_OR_SWAPPED)
            continue;
        const struct map *m = maps_find(im->maps, address_of(b) + i * PAGE);
        if (m && !m->is_file && m->perms[0] == 'r' && m->perms[3] == 'p')
            absent |= (uint16_t)(1u << i);
    }
    return absent;
}

/*
 * Which pages of private memory are not there: they read as zero, and reading them over there would make them appear.
 * Of files' pages nothing can be said. Blocks that follow one another are asked for together, from number `first` on.
 */
static void ask_which_are_absent(const struct image *im, size_t first)
{
    static uint64_t entries[BLOCKS_ASKED_AT_ONCE * PAGES_PER_BLOCK];
    struct block *b = &im->blocks[first];
    size_t count = 1;
    while (count < BLOCKS_ASKED_AT_ONCE && first + count < im->count && b[count].key == b->key + count &&
           b[count].wants && !b[count].asked)
        count++;
    bool can = im->pagemap >= 0 && (size_t)sysconf(_SC_PAGESIZE) == PAGE;
    ssize_t got = can ? pread(im->pagemap, entries, count * PAGES_PER_BLOCK * sizeof entries[0],
                              (off_t)(address_of(b) / PAGE * sizeof entries[0]))
                      : 0;
    for (size_t i = 0; i < count; i++) {
        b[i].asked = true;
        b[i].zero = (size_t)(got > 0 ? got : 0) >= (i + 1) * PAGES_PER_BLOCK * sizeof entries[0]
                        ? absent_pages(im, &b[i], entries + i * PAGES_PER_BLOCK)
                        : 0;
    }
}

struct batch {
    struct iovec local[IOVECS], remote[IOVECS];
    unsigned count;
};

static bool read_remote(const struct image *im, const struct iovec *to, const struct iovec *from)
{
    return process_vm_readv(im->pid, to, 1, from, 1, 0) == (ssize_t)to->iov_len;
}

/* Bits for the lines of a page from byte `from` to byte `to`. */
static uint16_t lines_between(uint64_t from, uint64_t to)
{
    unsigned first = (unsigned)(from / LINE), last = (unsigned)((to - 1) / LINE);
    return (uint16_t)(UINT16_MAX << first & UINT16_MAX >> (LINES_PER_PAGE - 1 - last));
}

static void forget_lines(struct image *im, uint64_t address, uint64_t bytes)
{
    uint64_t in_page = address % PAGE;
    find_block(im, address, false)->known[address % BLOCK_BYTES / PAGE] &=
        (uint16_t)~lines_between(in_page, in_page + bytes);
    im->bytes -= bytes;
}

static void retry_pages(struct image *im, const struct iovec *local, const struct iovec *remote)
{
    unsigned char *to = local->iov_base, *from = remote->iov_base;
    for (size_t at = 0, part; at < local->iov_len; at += part) {
        part = PAGE - (uintptr_t)(from + at) % PAGE;
        if (part > local->iov_len - at)
            part = local->iov_len - at;
        if (!read_remote(im, &(struct iovec){to + at, part}, &(struct iovec){from + at, part}))
            forget_lines(im, (uintptr_t)(from + at), part);
    }
}

/* The kernel stops at the first piece it cannot read; its pages are tried one by one, and the others get their turn. */
static void flush(struct image *im, struct batch *t)
{
    unsigned done = 0;
    while (done < t->count) {
        ssize_t got =
            process_vm_readv(im->pid, t->local + done, t->count - done, t->remote + done, t->count - done, 0);
        if (got < 0)
            got = 0;
        while (done < t->count && (size_t)got >= t->local[done].iov_len)
            got -= (ssize_t)t->local[done++].iov_len;
        if (done < t->count) {
            retry_pages(im, &t->local[done], &t->remote[done]);
            done++;
        }
    }
    t->count = 0;
}

static unsigned char *end_of(const struct iovec *piece)
{
    return (unsigned char *)piece->iov_base + piece->iov_len;
}

static void add_piece(struct image *im, struct batch *t, unsigned char *to, uint64_t address, uint64_t bytes)
{
    unsigned char *from = (unsigned char *)(uintptr_t)address;
    if (t->count && end_of(&t->local[t->count - 1]) == to && end_of(&t->remote[t->count - 1]) == from) {
        t->local[t->count - 1].iov_len += bytes;
        t->remote[t->count - 1].iov_len += bytes;
        return;
    }
    if (t->count == IOVECS)
        flush(im, t);
    t->local[t->count] = (struct iovec){to, bytes};
    t->remote[t->count++] = (struct iovec){from, bytes};
}

/* Lines count as known once they are in the batch; flush takes back what could not be read. */
static void add_page(struct image *im, struct batch *t, struct block *b, unsigned page, uint16_t lines)
{
    unsigned char *copy = copy_of(im, b, page);
    if (!copy)
        return;
    b->known[page] |= lines;
    while (lines) {
        unsigned first = (unsigned)__builtin_ctz(lines);
        unsigned count = (unsigned)__builtin_ctz(~((unsigned)lines >> first));
        add_piece(im, t, copy + first * LINE, address_of(b) + page * PAGE + first * LINE, count * LINE);
        im->bytes += count * LINE;
        lines &= (uint16_t) ~(((1u << count) - 1) << first);
    }
}

static void add_block(struct image *im, struct batch *t, size_t number)
{
    struct block *b = &im->blocks[number];
    if (!b->asked)
        ask_which_are_absent(im, number);
    for (unsigned page = 0; page < PAGES_PER_BLOCK; page++) {
        uint16_t lines = b->wanted[page] & (uint16_t)~b->known[page];
        b->wanted[page] = 0;
        if (b->zero >> page & 1) {
            b->known[page] |= lines;
            im->zeros += (unsigned)__builtin_popcount(lines) * LINE;
        } else if (lines)
            add_page(im, t, b, page, lines);
    }
    b->wants = false;
}

static struct batch batch;

void image_fetch(struct image *im)
{
    for (size_t i = 0; i < im->count; i++)
        if (im->blocks[i].wants)
            add_block(im, &batch, i);
    flush(im, &batch);
}

/* A table that was written over may say anything of its length. The descriptors of 1 TiB of cells take as much. */
#define WANTED_AT_MOST ((uint64_t)1 << 30)

static uint64_t end_of_page(uint64_t address, uint64_t to)
{
    uint64_t left = PAGE - address % PAGE; /* the last page of all ends at 0 */
    return to - address < left ? to : address + left;
}

void image_want(struct image *im, uint64_t from, uint64_t to)
{
    struct block *b = NULL;
    if (to - from > WANTED_AT_MOST)
        return;
    for (uint64_t end; from < to; from = end) {
        end = end_of_page(from, to);
        if (!b || b->key != from >> BLOCK_SHIFT)
            b = find_block(im, from, true);
        b->wanted[from % BLOCK_BYTES / PAGE] |= lines_between(from % PAGE, from % PAGE + (end - from));
        b->wants = true;
    }
}

/* How much of [at, end), which lies in one page, is known. */
static uint64_t known_bytes(const struct block *b, uint64_t at, uint64_t end)
{
    unsigned known = b->known[at % BLOCK_BYTES / PAGE], first = (unsigned)(at % PAGE / LINE);
    uint64_t known_to = at / LINE * LINE + (uint64_t)__builtin_ctz(~(known >> first)) * LINE;
    return known_to < at ? 0 : known_to < end ? known_to - at : end - at;
}

static void read_known(const struct image *im, const struct block *b, uint64_t at, void *to, uint64_t bytes)
{
    unsigned page = (unsigned)(at % BLOCK_BYTES / PAGE);
    if (b->zero >> page & 1)
        memset(to, 0, bytes);
    else
        memcpy(to, im->memory + (b->copies[page] - UINT64_C(1)) * PAGE + at % PAGE, bytes);
}

size_t image_read(void *context, uint64_t address, void *buffer, size_t length)
{
    struct image *im = context;
    uint64_t to = address + length;
    struct block *b = NULL;
    if (to < address)
        return 0;
    for (uint64_t at = address, end; at < to; at = end) {
        end = end_of_page(at, to);
        if (!b || b->key != at >> BLOCK_SHIFT)
            b = find_block(im, at, im->live);
        if (!b)
            return at - address;
        if (im->live &&
            known_bytes(b, at, end) < end - at) { /* what else is on its pages will be asked for next */
            uint64_t block_end = (at | (BLOCK_BYTES - 1)) + 1;
            image_want(im, at / PAGE * PAGE, (to < block_end ? to + PAGE - 1 : block_end) / PAGE * PAGE);
            add_block(im, &batch, (size_t)(b - im->blocks));
            flush(im, &batch);
        }
        uint64_t part = known_bytes(b, at, end);
        if (part)
            read_known(im, b, at, (char *)buffer + (at - address), part);
        if (part < end - at)
            return at + part - address;
    }
    return length;
}
