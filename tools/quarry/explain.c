/* quarry explain: everything known of one address, in sentences. Owns: the sentences. */
#include "capture.h"
#include "command.h"
#include "json.h"
#include "options.h"
#include "words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: quarry explain [OPTIONS] ADDRESS PID|CORE|SNAPSHOT\n"
    "\n"
    "Says what an address is: which block, cell, run, chunk, segment or mapping it\n"
    "lies in, in what state, and what lies beside it. ADDRESS is hexadecimal with 0x,\n"
    "or decimal without a 0 in front.\n"
    "\n"
    "  --json     the same as JSON\n"
    "  --whole    look at the headers of all blocks, however large the heap is; the\n"
    "             stop is longer\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0; 1 nothing is known of the address, or the target cannot be\n"
    "looked at; 2 wrong usage; 125 quarry itself failed.\n";

/* What is found is said twice: as sentences, and as members of one object. */
struct answer {
    const struct model *m;
    uint64_t address;
    bool as_json, known;
    struct json *json;
};

static void say(struct answer *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct answer *a, const char *format, ...)
{
    va_list args;
    a->known = true;
    if (a->as_json)
        return;
    char *sentence = NULL;
    va_start(args, format);
    if (vasprintf(&sentence, format, args) < 0)
        exit(complain(EXIT_OURSELVES, "out of memory"));
    va_end(args);
    words_print_plain(stdout, sentence, "");
    putchar('\n');
    free(sentence);
}

static void number(struct answer *a, const char *name, uint64_t value)
{
    if (a->as_json)
        json_member_number(a->json, name, value);
}

static void text(struct answer *a, const char *name, const char *value)
{
    if (a->as_json)
        json_member_text(a->json, name, value);
}

/* ---- chunks ---- */

static const char *const state_sentences[STATES] = {
    [STATE_IN_USE] = "in use: the program holds it",
    [STATE_BINNED] = "free, in a bin",
    [STATE_UNSORTED] = "free, in the unsorted bin",
    [STATE_FAST] = "free, in a fast bin",
    [STATE_CACHED] = "free, kept by a thread for its next malloc",
    [STATE_INBOX] = "free, in its arena's inbox: another thread freed it",
    [STATE_TOP] = "the top chunk of its arena: what is behind all blocks, used last",
    [STATE_FENCE] = "a fencepost: it closes a segment off",
    [STATE_MAPPED] = "in use, a mapping of its own",
    [STATE_BROKEN] = "in use, and its size word was written over",
    [STATE_MOVING] = "free, in no list: a thread had it in hand, or the list that it is in is damaged",
};

/* Of a free chunk, A and M mean something else: how long it has been free. */
static void say_flags(struct answer *a, const struct chunk *c)
{
    bool is_free = c->state == STATE_BINNED || c->state == STATE_UNSORTED || c->state == STATE_TOP;
    if (c->state == STATE_MAPPED)
        say(a, "Flags: M, a mapping of its own.");
    else
        say(a, "Flags: %s%s.",
            c->tags & 1 ? "P, the chunk before it is in use" : "no P, the chunk before it is free",
            !is_free && c->tags & 4 ? "; A, it belongs to another arena than the main one" : "");
}

static const char *place_in_block(uint64_t address, uint64_t header, uint64_t mem, uint64_t end,
                                  const char *before_header)
{
    static char place[64];
    if (address == mem)
        return "the start of the memory";
    if (address < mem)
        return address >= header ? "in the header" : before_header;
    if (address >= end)
        return "behind the memory";
    snprintf(place, sizeof place, "byte %" PRIu64 " of the memory", address - mem);
    return place;
}

static void say_cache_of(struct answer *a, uint64_t mem)
{
    for (size_t i = 0; i < a->m->cache_count; i++) {
        const struct cache *c = &a->m->caches[i];
        for (size_t j = 0; j < c->stack_count; j++) {
            const struct stack *s = &c->stacks[j];
            for (size_t k = 0; k < s->is.count; k++) {
                if (s->blocks[k] != mem)
                    continue;
                say(a,
                    "It is number %zu from the top of %zu in the stack for %s %" PRIu64
                    " of thread cache %s%s.",
                    s->is.count - k, s->is.count, s->is.of_cells ? "cells of" : "chunks from", s->is.from,
                    words_address(c->is.address),
                    c->tid         ? ""
                    : c->is.orphan ? ", which no thread uses"
                                   : "");
                number(a, "cache", i);
                if (c->tid) {
                    say(a, "That cache belongs to thread %d.", c->tid);
                    number(a, "tid", (uint64_t)c->tid);
                }
                return;
            }
        }
    }
}

static void say_list_of(struct answer *a, uint64_t at)
{
    static const char *const names[] = {[QUARRY_LIST_FAST] = "fast bin",
                                        [QUARRY_LIST_UNSORTED] = "unsorted bin",
                                        [QUARRY_LIST_SMALL] = "small bin",
                                        [QUARRY_LIST_LARGE] = "large bin",
                                        [QUARRY_LIST_INBOX] = "inbox"};
    for (size_t i = 0; i < a->m->list_count; i++) {
        const struct list *l = &a->m->lists[i];
        for (size_t k = 0; l->is.kind < QUARRY_LIST_DIRTY_RUNS && k < l->count; k++) {
            if (l->members[k] != at)
                continue;
            say(a, "It is number %zu of %zu in %s %u of arena %u.", k + 1, l->count, names[l->is.kind],
                l->is.index, l->is.arena);
            text(a, "list", names[l->is.kind]);
            number(a, "list_index", l->is.index);
            number(a, "list_position", k);
            return;
        }
    }
}

static void say_neighbours(struct answer *a, const struct chunk *c)
{
    const struct chunk *first = a->m->chunks, *end = first + a->m->chunk_count;
    if (c->state == STATE_MAPPED)
        return;
    if (c > first && c[-1].at + c[-1].size == c->at)
        say(a, "Before it: %s at %s, %s.", words_bytes(c[-1].size), words_address(c[-1].at + 16),
            state_sentences[c[-1].state]);
    if (c + 1 < end && c->at + c->size == c[1].at)
        say(a, "Behind it: %s at %s, %s.", words_bytes(c[1].size), words_address(c[1].at + 16),
            state_sentences[c[1].state]);
}

static void say_chunk(struct answer *a, const struct chunk *c)
{
    uint64_t usable = c->size - (c->state == STATE_MAPPED ? 16 : 8);
    say(a, "%s is %s of a chunk of %" PRIu64 " bytes at %s, %s.", words_address(a->address),
        place_in_block(a->address, c->at + 8, c->at + 16, c->at + 16 + usable,
                       c->state == STATE_MAPPED ? "in the padding before the header"
                                                : "in prev_size, where a free chunk before says its size,"),
        (uint64_t)c->size, words_address(c->at), state_sentences[c->state]);
    say(a, "Its memory is %s to %s, %" PRIu64 " bytes.", words_address(c->at + 16),
        words_address(c->at + 16 + usable), usable);
    say_flags(a, c);
    text(a, "what", "chunk");
    text(a, "state", state_names[c->state]);
    number(a, "chunk", c->at);
    number(a, "memory", c->at + 16);
    number(a, "size", c->size);
    number(a, "usable", usable);
    number(a, "tags", c->tags);
    if (c->state != STATE_MAPPED) {
        say(a, "It belongs to arena %u%s.", (unsigned)c->arena, c->arena ? "" : ", the main arena");
        number(a, "arena", c->arena);
    }
    if (c->state == STATE_CACHED)
        say_cache_of(a, c->at + 16);
    else
        say_list_of(a, c->at);
    say_neighbours(a, c);
}

/* ---- cells ---- */

static void say_run(struct answer *a, const struct run *r)
{
    const struct cache *owner = r->owner == QUARRY_NONE ? NULL : &a->m->caches[r->owner];
    uint64_t counts[CELL_MOVING + 1] = {0};
    for (unsigned i = 0; i < r->is.cells; i++)
        counts[model_cell_state(r, i)]++;
    say(a, "Run %s: %u cells of %u bytes: %s in use, %s free, %s cached, %s not carved.",
        words_address(r->is.at), r->is.cells, r->is.stride, words_count(counts[CELL_IN_USE]),
        words_count(counts[CELL_FREE] + counts[CELL_REMOTE] + counts[CELL_MOVING]),
        words_count(counts[CELL_CACHED]), words_count(counts[CELL_NONE]));
    if (owner && owner->tid)
        say(a, "It is owned by the cache of thread %d.", owner->tid);
    else if (owner)
        say(a, "It is owned by thread cache %s%s.", words_address(owner->is.address),
            owner->is.orphan ? ", which no thread uses" : "");
    size_t users = owner ? model_users_of(a->m, owner->is.address) : 0;
    if (users > (owner && owner->is.orphan ? 0 : 1))
        say(a, "The cells of %s thread%s come from the runs of that cache.", words_count(users),
            users == 1 ? "" : "s");
    number(a, "run", r->is.at);
    number(a, "run_cells", r->is.cells);
    number(a, "run_in_use", counts[CELL_IN_USE]);
}

static void say_cell(struct answer *a, const struct run *r)
{
    static const char *const sentences[] = {
        [CELL_NONE] = "not carved: it was never handed out, or its page was given back",
        [CELL_IN_USE] = "in use: the program holds it",
        [CELL_FREE] = "free",
        [CELL_REMOTE] = "free: another thread freed it, and its owner has not collected it yet",
        [CELL_CACHED] = "free, kept by a thread for its next malloc",
        [CELL_MOVING] = "free, in no list: a thread had it in hand",
    };
    static const char *const names[] = {"none", "in use", "free", "remote", "cached", "moving"};
    uint64_t offset = a->address - r->is.at + 8, first = r->is.first; /* a header is part of its cell */
    uint64_t index = offset < first ? r->is.cells : (offset - first) / r->is.stride;
    if (index >= r->is.cells) {
        say(a, "%s is in a run, in the part that no cell covers.", words_address(a->address));
        text(a, "what", "run");
    } else {
        enum cell_state state = model_cell_state(r, (unsigned)index);
        uint64_t mem = r->is.at + first + index * r->is.stride;
        say(a, "%s is %s of a cell of %u bytes, %s.", words_address(a->address),
            place_in_block(a->address, mem - 8, mem, mem + r->is.stride - 8, "before the header"),
            r->is.stride, sentences[state]);
        say(a, "Its memory is %s to %s; it serves requests of up to %u bytes.", words_address(mem),
            words_address(mem + r->is.stride - 8), r->is.stride - 8);
        text(a, "what", "cell");
        text(a, "state", names[state]);
        number(a, "memory", mem);
        number(a, "stride", r->is.stride);
        number(a, "usable", r->is.stride - 8);
        if (state == CELL_CACHED)
            say_cache_of(a, mem);
    }
    say_run(a, r);
}

static void say_free_run(struct answer *a, const struct run *r)
{
    say(a, "%s is in a free run, %s to %s, %s.", words_address(a->address), words_address(r->is.at),
        words_address(r->is.at + 65536),
        r->state == RUN_DIRTY ? "whose memory is kept" : "whose memory was given back");
    text(a, "what", "free run");
    number(a, "run", r->is.at);
}

/* ---- what is around ---- */

static void say_segment(struct answer *a, const struct segment *s)
{
    static const char *const kinds[] = {
        [QUARRY_SEGMENT_BREAK] = "the main arena's part of the brk segment",
        [QUARRY_SEGMENT_SUBHEAP] = "a sub-heap",
        [QUARRY_SEGMENT_RUNS] = "the zone of runs",
        [QUARRY_SEGMENT_RUN_DESCRIPTORS] = "the descriptors of runs",
        [QUARRY_SEGMENT_CACHE] = "a thread cache",
        [QUARRY_SEGMENT_TABLES] = "Quarry's tables: marks, granules, register",
        [QUARRY_SEGMENT_ARENA] = "the structure of an arena",
        [QUARRY_SEGMENT_MAPPED] = "a mapping of its own",
    };
    if (!a->known)
        say(a, "%s is in Quarry's memory, but in no block.", words_address(a->address));
    say(a, "Segment %s to %s: %s.", words_address(s->is.from), words_address(s->is.to), kinds[s->is.kind]);
    text(a, "segment", kinds[s->is.kind]);
    if (!s->pages)
        return;
    uint64_t page = a->address / a->m->page_bytes - s->is.from / a->m->page_bytes;
    unsigned value = s->pages[page / 4] >> (page % 4 * 2) & 3;
    static const char *const values[] = {"not resident: nobody touched it, or it was given back", "resident",
                                         "swapped out", "resident, in a huge page"};
    say(a, "Its page is %s.", values[value]);
    text(a, "page", values[value]);
}

static void say_map(struct answer *a, const struct map *m)
{
    if (!a->known)
        say(a, "%s is not in Quarry's heap.", words_address(a->address));
    say(a, "Mapping %s to %s, %s%s%s.", words_address(m->from), words_address(m->to), m->perms,
        *m->name ? ", " : "", m->name);
    text(a, "mapping", m->name);
}

static void say_findings(struct answer *a, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < a->m->finding_count; i++) {
        const struct finding *f = &a->m->findings[i];
        if (f->address >= from && f->address < to)
            say(a, "Finding at %s: %s: %s.", words_address(f->address), f->check, f->text);
    }
}

/* The first 8 bytes of a chunk are the last of the block before it, but where that is free and merged. */
static const struct chunk *chunk_with(const struct model *m, uint64_t address)
{
    const struct chunk *c = model_chunk_at(m, address);
    if (!c || c == m->chunks || address >= c->at + 8)
        return c;
    const struct chunk *before = c - 1;
    bool is_block = before->state == STATE_IN_USE || before->state == STATE_CACHED ||
                    before->state == STATE_FAST || before->state == STATE_INBOX ||
                    before->state == STATE_BROKEN;
    return is_block && before->at + before->size == c->at ? before : c;
}

static void explain(struct answer *a)
{
    const struct chunk *c = chunk_with(a->m, a->address);
    const struct run *r = model_run_at(a->m, a->address);
    const struct segment *s = model_segment_at(a->m, a->address);
    const struct map *map = maps_find(&a->m->maps, a->address);
    if (c) {
        say_chunk(a, c);
        say_findings(a, c->at, c->at + c->size);
    } else if (r) {
        if (r->state == RUN_OWNED)
            say_cell(a, r);
        else
            say_free_run(a, r);
        say_findings(a, r->is.at, r->is.at + 65536);
    }
    if (s)
        say_segment(a, s);
    if (map)
        say_map(a, map);
    if (map && !c && !r && a->m->other_copies) /* it may be a block of theirs */
        say(a, "%s", words_other_copies(a->m->other_copies));
}

/* ---- the command ---- */

static bool parse_address(const char *word, uint64_t *address)
{
    const char *end;
    return words_number(word, &end, address) && *end == '\0';
}

static int answer(const struct model *m, uint64_t address, bool as_json)
{
    static struct json j;
    struct answer a = {.m = m, .address = address, .as_json = as_json, .json = &j};
    json_start(&j, stdout, false);
    if (a.as_json) {
        json_open(&j, '{');
        json_member_text(&j, "format", "quarry-explain");
        json_member_number(&j, "version", 1);
        json_member_number(&j, "address", address);
        json_member_number(&j, "other_copies", m->other_copies);
    }
    explain(&a);
    if (a.as_json) {
        json_member_bool(&j, "known", a.known);
        json_close(&j, '}');
        json_end(&j);
    }
    int status = print_text("");
    if (status == EXIT_FINE && !a.known)
        return as_json
                   ? EXIT_FINDING
                   : complain(EXIT_FINDING, "explain: %s: nothing is mapped there", words_address(address));
    return status;
}

int explain_main(int argc, char **argv)
{
    struct capture_options look = {0};
    bool as_json = false;
    const struct option options[] = {
        {"--json", .flag = &as_json},
        {"--whole", .flag = &look.whole},
        {0},
    };
    uint64_t address;
    int status = options_read(OPTIONS_ANYWHERE, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    if (argc > 3)
        return complain(EXIT_USAGE, "explain: one address and one target, not '%s' too", argv[3]);
    if (argc < 3)
        return complain(EXIT_USAGE, "explain: an address and a target, please; see `quarry explain --help`");
    if (!parse_address(argv[1], &address))
        return complain(EXIT_USAGE,
                        "explain: '%s' is no address (hexadecimal with 0x, or decimal without a 0 in front)",
                        argv[1]);
    struct model m;
    status = capture("explain", argv[2], &look, &m);
    if (status == EXIT_FINE)
        status = answer(&m, address, as_json);
    model_free(&m);
    return status;
}
