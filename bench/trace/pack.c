/*
 * pack RAW PACKED
 *
 * Turns a recorder's file into a trace to keep (format.h): addresses become slots and generations, threads
 * get streams of their own. Prints what the trace holds as NAME=VALUE lines.
 */
#define _GNU_SOURCE
#include "format.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct block {
    uint64_t address; /* 0: this cell of the table is free */
    uint64_t size;
    uint32_t slot;
    uint16_t generation;
};

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void *grown(void *memory, size_t bytes)
{
    void *moved = realloc(memory, bytes);
    if (!moved)
        fail("realloc");
    return moved;
}

/* --- live blocks by address: linear probing, deletion by shifting back (Knuth 6.4, algorithm R) --- */

static struct block *table;
static size_t table_room, table_used;

static size_t home_of(uint64_t address)
{
    return (size_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (table_room - 1);
}

static struct block *cell_of(uint64_t address)
{
    size_t i = home_of(address);
    while (table[i].address && table[i].address != address)
        i = (i + 1) & (table_room - 1);
    return &table[i];
}

static void table_grow(void)
{
    struct block *old = table;
    size_t old_room = table_room;
    table_room = old_room ? 2 * old_room : 1 << 16;
    table = calloc(table_room, sizeof *table);
    if (!table)
        fail("calloc");
    for (size_t i = 0; i < old_room; i++)
        if (old[i].address)
            *cell_of(old[i].address) = old[i];
    free(old);
}

static void table_put(struct block b)
{
    if (2 * table_used >= table_room)
        table_grow();
    struct block *cell = cell_of(b.address);
    table_used += !cell->address;
    *cell = b;
}

static bool table_take(uint64_t address, struct block *found)
{
    if (!table_room || !cell_of(address)->address)
        return false;
    size_t hole = (size_t)(cell_of(address) - table);
    *found = table[hole];
    for (size_t i = (hole + 1) & (table_room - 1); table[i].address; i = (i + 1) & (table_room - 1)) {
        size_t distance = (i - home_of(table[i].address)) & (table_room - 1);
        if (distance >= ((i - hole) & (table_room - 1))) {
            table[hole] = table[i];
            hole = i;
        }
    }
    table[hole].address = 0;
    table_used--;
    return true;
}

/* --- slots: the last one given up is the first one used again --- */

static uint16_t *generations; /* the next generation of each slot */
static uint32_t *free_slots;
static size_t slots_made, slots_room, slots_free;

static void slot_take(struct block *b)
{
    if (!slots_free && slots_made == slots_room) {
        slots_room = slots_room ? 2 * slots_room : 4096;
        generations = grown(generations, slots_room * sizeof *generations);
        free_slots = grown(free_slots, slots_room * sizeof *free_slots);
    }
    if (slots_free) {
        b->slot = free_slots[--slots_free];
    } else {
        b->slot = (uint32_t)slots_made++;
        generations[b->slot] = 0;
    }
    b->generation = generations[b->slot];
}

static void slot_give(const struct block *b)
{
    generations[b->slot]++;
    free_slots[slots_free++] = b->slot;
}

/* --- streams --- */

struct stream {
    unsigned char *bytes;
    size_t used, room;
    bool reallocates; /* between the two records of a realloc */
    bool knows_old;
    struct block old;
};

static struct stream *streams;
static size_t stream_count;
static uint64_t records_out, live_bytes, peak_bytes;

static struct stream *stream_of(uint32_t thread)
{
    if (thread >= stream_count) {
        streams = grown(streams, (thread + 1) * sizeof *streams);
        memset(streams + stream_count, 0, (thread + 1 - stream_count) * sizeof *streams);
        stream_count = thread + 1;
    }
    return &streams[thread];
}

static void put_number(struct stream *s, uint64_t value)
{
    do {
        unsigned char low = value & 0x7f;
        value >>= 7;
        s->bytes[s->used++] = (unsigned char)(low | (value ? 0x80 : 0));
    } while (value);
}

static void put_record(struct stream *s, enum packed_op op, const struct block *b)
{
    if (s->room - s->used < 128) {
        s->room = s->room ? 2 * s->room : 65536;
        s->bytes = grown(s->bytes, s->room);
    }
    s->bytes[s->used++] = (unsigned char)op;
    put_number(s, b->slot);
    put_number(s, b->generation);
    records_out++;
}

static void live_change(uint64_t more, uint64_t less)
{
    live_bytes += more - less;
    if (live_bytes > peak_bytes)
        peak_bytes = live_bytes;
}

static struct block block_new(const struct raw_record *r)
{
    struct block b = {.address = r->address,
                      .size = r->size ? r->size : 1}; /* 0: replay must get an address */
    slot_take(&b);
    return b;
}

static void pack_take(struct stream *s, const struct raw_record *r, enum packed_op op)
{
    struct block b = block_new(r);
    put_record(s, op, &b);
    put_number(s, b.size);
    if (op == PACKED_ALIGNED)
        put_number(s, r->alignment_log2);
    table_put(b);
    live_change(b.size, 0);
}

static void pack_give(struct stream *s, const struct block *b)
{
    put_record(s, PACKED_GIVE, b);
    slot_give(b);
    live_change(0, b->size);
}

static void pack_realloc(struct stream *s, const struct raw_record *r)
{
    bool known = s->knows_old;
    s->knows_old = s->reallocates = false;
    if (!r->address) { /* realloc(p, 0) freed; anything else failed and left the block alone */
        if (known && !r->size)
            pack_give(s, &s->old);
        else if (known)
            table_put(s->old);
        return;
    }
    if (!known) {
        pack_take(s, r, PACKED_TAKE);
        return;
    }
    struct block b = block_new(r);
    put_record(s, PACKED_GROW, &b);
    put_number(s, b.size);
    put_number(s, s->old.slot);
    put_number(s, s->old.generation);
    put_number(s, s->old.size);
    slot_give(&s->old);
    table_put(b);
    live_change(b.size, s->old.size);
}

static void pack(const struct raw_record *r)
{
    struct stream *s = stream_of(r->thread);
    struct block gone;
    switch (r->op) {
    case RAW_MALLOC:
        pack_take(s, r, PACKED_TAKE);
        break;
    case RAW_CALLOC:
        pack_take(s, r, PACKED_ZEROED);
        break;
    case RAW_ALIGNED:
        pack_take(s, r, PACKED_ALIGNED);
        break;
    case RAW_FREE: /* a block from before the recording is unknown: not ours to replay */
        if (table_take(r->address, &gone))
            pack_give(s, &gone);
        break;
    case RAW_REALLOC_FROM:
        s->reallocates = true;
        s->knows_old = table_take(r->address, &s->old);
        break;
    case RAW_REALLOC_TO:
        if (s->reallocates)
            pack_realloc(s, r);
        break;
    default: /* a record reserved and not written: the process ended between */
        break;
    }
}

/* --- files --- */

static void write_out(const char *path)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        fail(path);
    struct packed_header h = {PACKED_MAGIC, records_out, slots_made, stream_count, peak_bytes};
    fwrite(&h, sizeof h, 1, out);
    uint64_t offset = sizeof h + stream_count * sizeof(struct packed_stream);
    for (size_t i = 0; i < stream_count; i++) {
        struct packed_stream s = {offset, streams[i].used};
        fwrite(&s, sizeof s, 1, out);
        offset += s.length;
    }
    for (size_t i = 0; i < stream_count; i++)
        if (streams[i].used)
            fwrite(streams[i].bytes, 1, streams[i].used, out);
    if (ferror(out) || fclose(out))
        fail(path);
    printf("records=%lu\nthreads=%zu\nslots=%zu\npeak_bytes=%lu\nbytes=%lu\n", (unsigned long)records_out,
           stream_count, slots_made, (unsigned long)peak_bytes, (unsigned long)offset);
}

int main(int argc, char **argv)
{
    struct stat st;
    int file = argc == 3 ? open(argv[1], O_RDONLY) : -1;
    if (argc != 3) {
        fprintf(stderr, "usage: pack RAW PACKED\n");
        return 2;
    }
    if (file < 0 || fstat(file, &st))
        fail(argv[1]);
    const struct raw_header *h =
        st.st_size < (off_t)sizeof *h ? NULL : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (!h || h == MAP_FAILED || h->magic != RAW_MAGIC) {
        fprintf(stderr, "pack: %s is not a recording\n", argv[1]);
        return 1;
    }
    const struct raw_record *records = (const struct raw_record *)(h + 1);
    uint64_t count = h->reserved < h->room ? h->reserved : h->room;
    if (count < h->reserved)
        fprintf(stderr, "pack: the recording is full; its last %lu calls are missing\n",
                (unsigned long)(h->reserved - count));
    for (uint64_t i = 0; i < count; i++)
        pack(&records[i]);
    write_out(argv[2]);
    return 0;
}
