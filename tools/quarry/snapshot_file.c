#include "snapshot_file.h"

#include "command.h"
#include "memory.h"
#include "pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#define VERSION 2

/* ---- the parts; each function is for both ways ---- */

static void part_process(struct pack *p, struct model *m)
{
    PACK(p, m->source);
    pack_fixed_text(p, m->taken_at, sizeof m->taken_at);
    PACK(p, m->stopped_us);
    PACK(p, m->stops);
    PACK(p, m->busy);
    PACK(p, m->lists_read);
    PACK(p, m->headers_read);
    PACK(p, m->copied_bytes);
    PACK(p, m->pid);
    pack_text(p, &m->command);
    pack_text(p, &m->executable);
    PACK(p, m->page_bytes);
    m->threads = pack_array(p, m->threads, &m->thread_count, sizeof *m->threads);
    for (size_t i = 0; i < m->thread_count; i++) {
        struct thread *t = &m->threads[i];
        PACK(p, t->tid);
        pack_fixed_text(p, t->name, sizeof t->name);
        PACK(p, t->cache);
    }
    if (p->writing || p->used < p->room) /* it is not in files of earlier commands */
        PACK(p, m->other_copies);
}

static void part_library(struct pack *p, struct model *m)
{
    pack_fixed_text(p, m->version, sizeof m->version);
    PACK(p, m->classic);
    PACK(p, m->first_of_break);
    PACK(p, m->end_of_break);
    PACK(p, m->zone_from);
    PACK(p, m->zone_bytes);
    m->options = pack_array(p, m->options, &m->option_count, sizeof *m->options);
    for (size_t i = 0; i < m->option_count; i++) {
        struct option_value *o = &m->options[i];
        pack_text(p, &o->name);
        PACK(p, o->value);
        PACK(p, o->initial);
        PACK(p, o->is_bool);
    }
}

static void part_maps(struct pack *p, struct model *m)
{
    m->maps.list = pack_array(p, m->maps.list, &m->maps.count, sizeof *m->maps.list);
    for (size_t i = 0; i < m->maps.count; i++) {
        struct map *map = &m->maps.list[i];
        PACK_NEAR(p, map->from, i ? map[-1].to : 0);
        PACK_NEAR(p, map->to, map->from);
        pack_fixed_text(p, map->perms, sizeof map->perms);
        PACK(p, map->is_file);
        pack_text(p, &map->name);
        PACK(p, map->resident);
        PACK(p, map->swapped);
        PACK(p, map->huge);
    }
}

static void part_segments(struct pack *p, struct model *m)
{
    m->segments = pack_array(p, m->segments, &m->segment_count, sizeof *m->segments);
    for (size_t i = 0; i < m->segment_count; i++) {
        struct segment *s = &m->segments[i];
        PACK(p, s->is.from);
        PACK_NEAR(p, s->is.to, s->is.from);
        PACK_NEAR(p, s->is.used_to, s->is.from);
        PACK(p, s->is.kind);
        PACK(p, s->is.arena);
        size_t bytes = 0;
        if (p->writing && s->pages)
            bytes = ((s->is.to + m->page_bytes - 1) / m->page_bytes - s->is.from / m->page_bytes + 3) / 4;
        s->pages = pack_array(p, s->pages, &bytes, 1);
        if (bytes)
            pack_bytes(p, s->pages, bytes);
        if (!p->writing && bytes && m->page_bytes &&
            bytes != ((s->is.to + m->page_bytes - 1) / m->page_bytes - s->is.from / m->page_bytes + 3) / 4)
            p->bad = true;
    }
}

static void part_arenas(struct pack *p, struct model *m)
{
    m->arenas = pack_array(p, m->arenas, &m->arena_count, sizeof *m->arenas);
    for (size_t i = 0; i < m->arena_count; i++) {
        struct quarry_arena *a = &m->arenas[i];
        PACK(p, a->address);
        PACK(p, a->index);
        PACK(p, a->threads);
        PACK(p, a->locked);
        PACK(p, a->top);
        PACK(p, a->last_remainder);
        PACK(p, a->system_bytes);
        PACK(p, a->max_system_bytes);
        PACK(p, a->bytes);
    }
}

/* Column by column: like beside like compresses well. */
static void part_chunks(struct pack *p, struct model *m)
{
    m->chunks = pack_array(p, m->chunks, &m->chunk_count, sizeof *m->chunks);
    struct chunk *c = m->chunks;
    for (size_t i = 0; i < m->chunk_count; i++) {
        unsigned char both = (unsigned char)(c[i].state | c[i].tags << 4);
        pack_bytes(p, &both, 1);
        c[i].state = both & 15;
        c[i].tags = both >> 4;
    }
    for (size_t i = 0; i < m->chunk_count; i++) {
        uint64_t units = c[i].size / 16;
        PACK(p, units);
        c[i].size = units * 16;
    }
    uint64_t end = 0;
    for (size_t i = 0; i < m->chunk_count; i++) {
        uint64_t at = c[i].at;
        PACK_NEAR(p, at, end);
        c[i].at = at;
        end = at + c[i].size;
    }
    for (size_t i = 0; i < m->chunk_count; i++) {
        uint64_t arena = c[i].arena;
        PACK(p, arena);
        c[i].arena = arena;
    }
    for (size_t i = 0; i < m->chunk_count; i++) {
        PACK(p, c[i].fd);
        PACK(p, c[i].bk);
    }
}

static void part_addresses(struct pack *p, uint64_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        PACK_NEAR(p, list[i], i ? list[i - 1] : 0);
}

static void part_lists(struct pack *p, struct model *m)
{
    m->lists = pack_array(p, m->lists, &m->list_count, sizeof *m->lists);
    for (size_t i = 0; i < m->list_count; i++) {
        struct list *l = &m->lists[i];
        PACK(p, l->is.kind);
        PACK(p, l->is.arena);
        PACK(p, l->is.index);
        PACK(p, l->is.from);
        PACK(p, l->is.to);
        l->members = pack_array(p, l->members, &l->count, sizeof *l->members);
        part_addresses(p, l->members, l->count);
    }
}

static void part_bits(struct pack *p, const struct run *r, uint64_t *words)
{
    pack_bytes(p, words, (r->is.cells + 63) / 64 * sizeof *words);
}

static void part_runs(struct pack *p, struct model *m)
{
    m->runs = pack_array(p, m->runs, &m->run_count, sizeof *m->runs);
    for (size_t i = 0; i < m->run_count; i++) {
        struct run *r = &m->runs[i];
        PACK_NEAR(p, r->is.at, i ? r[-1].is.at : 0);
        PACK(p, r->state);
        PACK(p, r->owner);
        PACK(p, r->is.cls);
        PACK(p, r->is.stride);
        PACK(p, r->is.first);
        PACK(p, r->is.cells);
        PACK(p, r->is.carved);
        PACK(p, r->is.headers_read);
        if (r->is.cells > QUARRY_RUN_WORDS * 64) {
            p->bad = true;
            r->is.cells = 0;
        }
        part_bits(p, r, r->is.available);
        part_bits(p, r, r->is.free);
        part_bits(p, r, r->is.remote);
        part_bits(p, r, r->cached);
        part_bits(p, r, r->is.headers_free);
    }
}

static void part_stacks(struct pack *p, struct cache *c)
{
    c->stacks = pack_array(p, c->stacks, &c->stack_count, sizeof *c->stacks);
    for (size_t i = 0; i < c->stack_count; i++) {
        struct stack *s = &c->stacks[i];
        PACK(p, s->is.of_cells);
        PACK(p, s->is.cls);
        PACK(p, s->is.from);
        PACK(p, s->is.limit);
        s->blocks = pack_array(p, s->blocks, &s->is.count, sizeof *s->blocks);
        s->is.blocks = s->blocks;
        part_addresses(p, s->blocks, s->is.count);
    }
}

static void part_caches(struct pack *p, struct model *m)
{
    m->caches = pack_array(p, m->caches, &m->cache_count, sizeof *m->caches);
    for (size_t i = 0; i < m->cache_count; i++) {
        struct cache *c = &m->caches[i];
        PACK(p, c->is.address);
        PACK(p, c->is.bytes);
        PACK(p, c->is.arena);
        PACK(p, c->is.host);
        PACK(p, c->is.orphan);
        PACK(p, c->is.locked);
        PACK(p, c->is.main_thread);
        PACK(p, c->tid);
        part_stacks(p, c);
    }
}

static void part_findings(struct pack *p, struct model *m)
{
    m->findings = pack_array(p, m->findings, &m->finding_count, sizeof *m->findings);
    for (size_t i = 0; i < m->finding_count; i++) {
        struct finding *f = &m->findings[i];
        PACK(p, f->address);
        pack_text(p, &f->check);
        pack_text(p, &f->text);
        PACK(p, f->doubtful);
    }
    PACK(p, m->findings_left_out);
}

/* A part is its number, its length and its bytes; a reader skips numbers it does not know. */
static void (*const parts[])(struct pack *p, struct model *m) = {
    NULL,        part_process, part_library, part_maps,   part_segments, part_arenas,
    part_chunks, part_lists,   part_runs,    part_caches, part_findings};
enum { PART_COUNT = sizeof parts / sizeof parts[0] };

/* ---- writing ---- */

struct stream {
    FILE *out;
    ZSTD_CCtx *zstd;
    bool failed;
};

static void compress(struct stream *s, const void *bytes, size_t count, ZSTD_EndDirective how)
{
    static char buffer[1 << 17];
    ZSTD_inBuffer in = {bytes, count, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {buffer, sizeof buffer, 0};
        left = ZSTD_compressStream2(s->zstd, &out, &in, how);
        s->failed |= ZSTD_isError(left) || fwrite(buffer, 1, out.pos, s->out) != out.pos;
    } while (!s->failed && (how == ZSTD_e_end ? left != 0 : in.pos < in.size));
}

static void write_part(struct stream *s, uint64_t number, struct pack *part)
{
    struct pack head = {.writing = true};
    uint64_t length = part->used;
    pack_number(&head, &number);
    pack_number(&head, &length);
    compress(s, head.bytes, head.used, ZSTD_e_continue);
    compress(s, part->bytes, part->used, ZSTD_e_continue);
    free(head.bytes);
}

bool snapshot_write(const struct model *m, FILE *out)
{
    unsigned char head[SNAPSHOT_MAGIC_BYTES + 4] = SNAPSHOT_MAGIC;
    struct stream s = {.out = out, .zstd = ZSTD_createCCtx()};
    if (!s.zstd)
        return false;
    head[SNAPSHOT_MAGIC_BYTES] = VERSION;
    ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_checksumFlag, 1);
    s.failed = fwrite(head, 1, sizeof head, out) != sizeof head;
    for (unsigned i = 1; i < PART_COUNT && !s.failed; i++) {
        struct pack part = {.writing = true};
        parts[i](&part, (struct model *)m); /* only read, when writing */
        write_part(&s, i, &part);
        free(part.bytes);
    }
    compress(&s, NULL, 0, ZSTD_e_end);
    ZSTD_freeCCtx(s.zstd);
    return !s.failed;
}

/* ---- reading ---- */

/* All of the frame, decompressed; NULL: it is damaged, or *no_memory. */
static unsigned char *decompress(const unsigned char *bytes, size_t count, size_t *length, bool *no_memory)
{
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    struct pack all = {.writing = true}; /* for its growing */
    ZSTD_inBuffer in = {bytes, count, 0};
    size_t left = zstd ? 1 : 0;
    unsigned char *buffer = allocate(1 << 17);
    while (left && (in.pos < in.size)) {
        ZSTD_outBuffer out = {buffer, 1 << 17, 0};
        left = ZSTD_decompressStream(zstd, &out, &in);
        if (ZSTD_isError(left))
            break;
        pack_bytes(&all, buffer, out.pos);
    }
    /* What is left in the decompressor, when the input is used up. */
    while (left && !ZSTD_isError(left)) {
        ZSTD_outBuffer out = {buffer, 1 << 17, 0};
        left = ZSTD_decompressStream(zstd, &out, &in);
        if (out.pos == 0)
            break;
        if (!ZSTD_isError(left))
            pack_bytes(&all, buffer, out.pos);
    }
    *no_memory = !zstd || ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation;
    free(buffer);
    ZSTD_freeDCtx(zstd);
    if (left == 0 && all.bytes) {
        *length = all.used;
        return all.bytes;
    }
    free(all.bytes);
    return NULL;
}

static bool run_is_sane(const struct model *m, const struct run *r)
{
    if (r->state > RUN_PURGED || (r->owner != QUARRY_NONE && r->owner >= m->cache_count) || r->is.at % 65536)
        return false;
    return r->state != RUN_OWNED || (r->is.stride >= 16 && r->is.first >= 8 && r->is.cells > 0 &&
                                     r->is.first + (uint64_t)r->is.cells * r->is.stride <= 65536);
}

/* What the commands rely on, beside lengths. */
static bool is_sane(const struct model *m)
{
    bool sane = m->source < SOURCES && m->page_bytes >= 4096 && !(m->page_bytes & (m->page_bytes - 1)) &&
                m->command && m->executable;
    for (size_t i = 0; i < m->segment_count; i++) {
        const struct quarry_segment *s = &m->segments[i].is;
        sane &= s->from < s->to && s->used_to >= s->from && s->used_to <= s->to && s->to >> 48 == 0 &&
                s->kind <= QUARRY_SEGMENT_MAPPED;
    }
    for (size_t i = 0; i < m->chunk_count; i++) {
        const struct chunk *c = &m->chunks[i];
        sane &= c->state < STATES && c->size >= 16 && (i == 0 || c[-1].at < c->at);
        sane &= c->state != STATE_MAPPED || c->fd <= c->at;
    }
    for (size_t i = 0; i < m->list_count; i++)
        sane &= m->lists[i].is.kind <= QUARRY_LIST_PURGED_RUNS;
    for (size_t i = 0; i < m->run_count; i++)
        sane &= run_is_sane(m, &m->runs[i]) && (i == 0 || m->runs[i - 1].is.at < m->runs[i].is.at);
    for (size_t i = 0; i < m->thread_count; i++)
        sane &= m->threads[i].cache == QUARRY_NONE || m->threads[i].cache < m->cache_count;
    return sane;
}

static bool read_parts(struct pack *all, struct model *m)
{
    unsigned last = 0;
    while (!all->bad && all->used < all->room) {
        uint64_t number = 0, length = 0;
        pack_number(all, &number);
        pack_number(all, &length);
        if (all->bad || length > all->room - all->used || (number < PART_COUNT && number != last + 1))
            return false;
        struct pack part = {.bytes = all->bytes + all->used, .room = length};
        if (number < PART_COUNT)
            parts[last = (unsigned)number](&part, m);
        if (part.bad)
            return false;
        all->used += length;
    }
    if (last < PART_COUNT - 1 || all->bad || !is_sane(m))
        return false;
    model_sort_segments(m); /* they are, but in files of earlier commands */
    model_place_caches(m);
    return true;
}

static const char *read_bytes(const unsigned char *bytes, size_t size, struct model *m)
{
    if (size < SNAPSHOT_MAGIC_BYTES + 4 || memcmp(bytes, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_BYTES) != 0)
        return "not a snapshot";
    uint32_t version;
    memcpy(&version, bytes + SNAPSHOT_MAGIC_BYTES, sizeof version);
    if (version != VERSION)
        return "a snapshot of another version of quarry";
    struct pack all = {0};
    bool no_memory;
    all.bytes =
        decompress(bytes + SNAPSHOT_MAGIC_BYTES + 4, size - SNAPSHOT_MAGIC_BYTES - 4, &all.room, &no_memory);
    const char *why = no_memory                          ? "no memory to decompress with"
                      : all.bytes && read_parts(&all, m) ? NULL
                                                         : "the snapshot is damaged or cut off";
    free(all.bytes);
    return why;
}

const char *snapshot_read(int fd, struct model *m)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (st.st_size == 0)
        return "not a snapshot";
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return strerror(errno);
    const char *why = read_bytes(bytes, (size_t)st.st_size, m);
    munmap(bytes, (size_t)st.st_size);
    return why;
}
