/*
 * What the heap looks like (M-41): mallinfo, malloc_stats, malloc_info. Same meaning as in glibc's manual; blocks in
 * thread caches are free here, which they are, where glibc counts them as in use.
 */
#include <errno.h>

#include "api/init.h"
#include "base/bits.h"
#include "base/message.h"
#include "observe/stats.h"
#include "quarry/malloc.h"
#include "segment/mapped.h"

/* Who reads these reports expects the main arena, as libc's always have it. */
static struct qy_arena *first_reported(void)
{
    qy_arena_main();
    return qy_arena_first();
}

QY_EXPORT struct mallinfo2 mallinfo2(void)
{
    qy_init();
    struct mallinfo2 info = {0};
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next)) {
        struct qy_arena_stats s;
        qy_arena_stats(a, &s);
        info.arena += s.system_bytes;
        info.ordblks += s.binned.count + (s.top_bytes ? 1 : 0);
        info.smblks += s.fast.count;
        info.fsmblks += s.fast.bytes;
        info.fordblks += s.fast.bytes + s.binned.bytes + s.top_bytes;
        if (a->index == 0)
            info.keepcost = s.top_bytes;
    }
    struct qy_run_stats runs;
    struct qy_cache_stats caches;
    qy_run_stats(&runs);
    qy_cache_stats(&caches);
    struct qy_mapped_stats mapped = qy_mapped_stats();
    info.arena += runs.system_bytes;
    info.fordblks += runs.free_bytes + caches.cells.bytes + caches.chunks.bytes;
    info.ordblks += runs.dirty_runs;
    info.uordblks = info.arena - qy_min(info.fordblks, info.arena);
    info.hblks = mapped.blocks;
    info.hblkhd = mapped.bytes;
    info.usmblks = 0; /* as in glibc: unused */
    return info;
}

/* The old form, in int: too small, kept because it is called. */
QY_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){
        .arena = (int)m.arena,
        .ordblks = (int)m.ordblks,
        .smblks = (int)m.smblks,
        .hblks = (int)m.hblks,
        .hblkhd = (int)m.hblkhd,
        .usmblks = (int)m.usmblks,
        .fsmblks = (int)m.fsmblks,
        .uordblks = (int)m.uordblks,
        .fordblks = (int)m.fordblks,
        .keepcost = (int)m.keepcost,
    };
}

/* "in use bytes     =     123456", as glibc prints it: programs read these lines. */
static void say(const char *name, size_t value)
{
    struct qy_text text = {0}, digits = {0};
    qy_text_add(&text, name);
    while (text.length < sizeof "max mmap regions " - 1)
        qy_text_add(&text, " ");
    qy_text_add(&text, "= ");
    qy_text_add_decimal(&digits, value);
    for (size_t width = digits.length; width < 10; width++)
        qy_text_add(&text, " ");
    qy_text_add_bytes(&text, digits.bytes, digits.length);
    qy_text_add(&text, "\n");
    qy_text_say(&text);
}

static void say_title(const char *title, size_t number, bool numbered)
{
    struct qy_text text = {0};
    qy_text_add(&text, title);
    if (numbered)
        qy_text_add_decimal(&text, number);
    qy_text_add(&text, ":\n");
    qy_text_say(&text);
}

static void say_runs_and_caches(void)
{
    struct qy_run_stats runs;
    struct qy_cache_stats caches;
    qy_run_stats(&runs);
    qy_cache_stats(&caches);
    say_title("Runs", 0, false);
    say("system bytes", runs.system_bytes);
    say("in use bytes", runs.cells.bytes);
    say("runs in use", runs.runs);
    say("runs kept", runs.dirty_runs);
    say_title("Thread caches", 0, false);
    say("caches", caches.caches);
    say("blocks", caches.cells.count + caches.chunks.count);
    say("bytes", caches.cells.bytes + caches.chunks.bytes);
}

QY_EXPORT void malloc_stats(void)
{
    qy_init();
    struct mallinfo2 total = mallinfo2();
    for (struct qy_arena *a = first_reported(); a; a = qy_load_acquire(&a->next)) {
        struct qy_arena_stats s;
        qy_arena_stats(a, &s);
        say_title("Arena ", a->index, true);
        say("system bytes", s.system_bytes);
        say("in use bytes", s.inuse_bytes);
    }
    say_runs_and_caches();
    struct qy_mapped_stats mapped = qy_mapped_stats();
    say_title("Total (incl. mmap)", 0, false);
    say("system bytes", total.arena + mapped.bytes);
    say("in use bytes", total.uordblks + mapped.bytes);
    say("max mmap regions", mapped.max_blocks);
    say("max mmap bytes", mapped.max_bytes);
}

static bool put(FILE *out, struct qy_text *text)
{
    bool done = fwrite(text->bytes, 1, text->length, out) == text->length;
    text->length = 0;
    return done;
}

static void add_attribute(struct qy_text *text, const char *name, size_t value)
{
    qy_text_add(text, " ");
    qy_text_add(text, name);
    qy_text_add(text, "=\"");
    qy_text_add_decimal(text, value);
    qy_text_add(text, "\"");
}

static void add_total(struct qy_text *text, const char *type, struct qy_pile pile)
{
    qy_text_add(text, "<total type=\"");
    qy_text_add(text, type);
    qy_text_add(text, "\"");
    add_attribute(text, "count", pile.count);
    add_attribute(text, "size", pile.bytes);
    qy_text_add(text, "/>\n");
}

static void add_sized(struct qy_text *text, const char *element, const char *type, size_t size)
{
    qy_text_add(text, "<");
    qy_text_add(text, element);
    qy_text_add(text, " type=\"");
    qy_text_add(text, type);
    qy_text_add(text, "\"");
    add_attribute(text, "size", size);
    qy_text_add(text, "/>\n");
}

static bool put_arena(FILE *out, struct qy_arena *a, struct qy_pile *fast, struct qy_pile *rest,
                      size_t *system, size_t *max_system)
{
    struct qy_arena_stats s;
    struct qy_text text = {0};
    qy_arena_stats(a, &s);
    struct qy_pile other = {s.binned.count + (s.top_bytes ? 1 : 0), s.binned.bytes + s.top_bytes};
    qy_text_add(&text, "<heap");
    add_attribute(&text, "nr", a->index);
    qy_text_add(&text, ">\n<sizes>\n</sizes>\n");
    add_total(&text, "fast", s.fast);
    add_total(&text, "rest", other);
    add_sized(&text, "system", "current", s.system_bytes);
    add_sized(&text, "system", "max", s.max_system_bytes);
    add_sized(&text, "aspace", "total", s.system_bytes);
    qy_text_add(&text, "</heap>\n");
    fast->count += s.fast.count;
    fast->bytes += s.fast.bytes;
    rest->count += other.count;
    rest->bytes += other.bytes;
    *system += s.system_bytes;
    *max_system += s.max_system_bytes;
    return put(out, &text);
}

QY_EXPORT int malloc_info(int options, FILE *out)
{
    if (options != 0)
        return EINVAL;
    qy_init();
    struct qy_text text = {0};
    struct qy_pile fast = {0}, rest = {0};
    size_t system = 0, max_system = 0;
    qy_text_add(&text, "<malloc version=\"1\">\n");
    bool done = put(out, &text);
    for (struct qy_arena *a = first_reported(); a; a = qy_load_acquire(&a->next))
        done &= put_arena(out, a, &fast, &rest, &system, &max_system);
    struct qy_run_stats runs;
    struct qy_cache_stats caches;
    qy_run_stats(&runs);
    qy_cache_stats(&caches);
    struct qy_mapped_stats mapped = qy_mapped_stats();
    add_total(&text, "fast", fast);
    add_total(&text, "rest", rest);
    add_total(&text, "mmap", (struct qy_pile){mapped.blocks, mapped.bytes});
    add_total(&text, "runs", (struct qy_pile){runs.runs, runs.system_bytes});
    add_total(&text, "cells", runs.cells);
    add_total(
        &text, "tcache",
        (struct qy_pile){caches.cells.count + caches.chunks.count, caches.cells.bytes + caches.chunks.bytes});
    add_sized(&text, "system", "current", system + runs.system_bytes);
    add_sized(&text, "system", "max", max_system + runs.system_bytes);
    add_sized(&text, "aspace", "total", system + runs.system_bytes);
    qy_text_add(&text, "</malloc>\n");
    done &= put(out, &text);
    return done ? 0 : -1;
}
