/* A model of a live process: found, stopped, copied, let go, and only then walked. */
#include "capture.h"
#include "command.h"
#include "image.h"
#include "memory.h"
#include "stop.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* What else is copied while that takes no longer than this many bytes do, some 15 ms on an idle machine. */
#define AT_MOST ((uint64_t)32 << 20)

/* A process caught at work in its heap is let go and stopped again, this often. */
#define STOPS_AT_MOST 25

static alignas(QUARRY_WALK_ALIGNMENT) unsigned char walk_memory[QUARRY_WALK_MEMORY];

int capture_walk(const char *command, const char *target, struct ration *ration, uint64_t layout,
                 struct model *m)
{
    struct quarry_walk walk = {.read = ration_read,
                               .read_context = ration,
                               .layout = layout,
                               .visitor = &model_visitor,
                               .visitor_context = m,
                               .memory = walk_memory,
                               .memory_bytes = sizeof walk_memory,
                               .partial = m->source == SOURCE_PROCESS};
    enum quarry_walk_status status = quarry_walk(&walk);
    if (status != QUARRY_WALK_DONE)
        return complain(EXIT_FINDING, "%s: %s: %s", command, target, quarry_walk_status_text(status));
    if (ration->spent)
        model_put_finding_first(m, layout, "limit",
                                "the tables of this heap lead to more than there is: not all of it is shown");
    model_join(m);
    capture_join_threads(m, ration->read, ration->context);
    return EXIT_FINE;
}

void capture_join_threads(struct model *m, quarry_read *read, void *context)
{
    for (size_t i = 0; i < m->thread_count; i++) {
        struct thread *t = &m->threads[i];
        uint64_t self = 0;
        t->cache = QUARRY_NONE;
        if (!t->pointer ||
            read(context, t->pointer + (uint64_t)m->cache_offset, &self, sizeof self) != sizeof self)
            continue;
        t->cache = model_cache_at(m, self);
        if (t->cache != QUARRY_NONE)
            m->caches[t->cache].tid = t->tid;
    }
}

/* ---- which of several ---- */

struct use {
    uint64_t caches, tables; /* how many, and bytes of what says where blocks are */
};

static void count_cache(void *use, const struct quarry_cache *cache)
{
    (void)cache;
    ((struct use *)use)->caches++;
}

static enum quarry_need count_tables(void *use, enum quarry_need kind, uint64_t from, uint64_t to)
{
    ((struct use *)use)->tables += kind == QUARRY_NEED_MARKS ? to - from : 0;
    return QUARRY_NEED_MARKS;
}

/* One ration has to do for all of them: a process may claim to hold any number. */
static struct use measure_use(struct ration *ration, uint64_t layout)
{
    const struct quarry_visitor visitor = {.cache = count_cache, .need = count_tables};
    struct use use = {0};
    struct quarry_walk walk = {.read = ration_read,
                               .read_context = ration,
                               .layout = layout,
                               .visitor = &visitor,
                               .visitor_context = &use,
                               .memory = walk_memory,
                               .memory_bytes = sizeof walk_memory};
    quarry_walk(&walk);
    return use;
}

/* To more threads; or, to as many, more. */
static bool serves_more(struct ration *ration, uint64_t layout, uint64_t than)
{
    struct use a = measure_use(ration, layout), b = measure_use(ration, than);
    return a.caches != b.caches ? a.caches > b.caches : a.tables > b.tables;
}

static void consider(struct search *s, uint64_t layout)
{
    enum quarry_walk_status status = quarry_check_layout(s->ration.read, s->ration.context, layout);
    int worth = status == QUARRY_WALK_DONE          ? USABLE
                : status == QUARRY_WALK_NOT_STARTED ? NEVER_USED
                                                    : NOT_KNOWN;
    s->copies += worth != NEVER_USED;
    if (!s->layout || worth > (int)s->worth ||
        (worth == USABLE && s->worth == USABLE && serves_more(&s->ration, layout, s->layout))) {
        s->layout = layout;
        s->worth = worth;
    }
}

void capture_search(struct search *s, const void *memory, size_t bytes, size_t own, uint64_t address)
{
    size_t at = 0;
    uint64_t layout;
    while ((layout = quarry_find_layout((const char *)memory + at, bytes - at, address + at)) != 0 &&
           layout - address < own) {
        consider(s, layout);
        at = layout - address + sizeof(uint64_t);
    }
}

/* ---- finding the descriptor ---- */

static size_t read_process(void *context, uint64_t address, void *buffer, size_t length)
{
    struct iovec local = {buffer, length}, remote = {(void *)(uintptr_t)address, length};
    ssize_t got = process_vm_readv(*(int *)context, &local, 1, &remote, 1, 0);
    return got > 0 ? (size_t)got : 0;
}

/* Data segments of files, deleted ones too: wherever the library is linked or loaded, its descriptor is in one. */
static bool may_hold_layout(const struct map *m)
{
    return m->is_file && m->perms[0] == 'r' && m->perms[1] == 'w' && m->perms[3] == 'p';
}

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_OF_FILE (UINT64_C(1) << 61)

/*
 * The library writes its descriptor as it starts. Pages that are a file's still are not read: a program may map any
 * number of them, and reading would make them appear.
 */
static bool was_written(uint64_t entry)
{
    return entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) && !(entry & PAGEMAP_OF_FILE);
}

#define PAGES_AT_ONCE 4096

/* Searches every page where nothing is known of them. */
static void search_map(int pid, int pagemap, const struct map *m, struct search *s)
{
    static uint64_t entries[PAGES_AT_ONCE];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), known = 0;
    char *copy = allocate(2 * page);
    for (uint64_t at = m->from, i = 0; at < m->to; at += page, i++) {
        if (i % PAGES_AT_ONCE == 0) {
            uint64_t left = (m->to - at) / page, asked = left < PAGES_AT_ONCE ? left : PAGES_AT_ONCE;
            ssize_t got =
                pread(pagemap, entries, asked * sizeof *entries, (off_t)(at / page * sizeof *entries));
            known = got > 0 ? (uint64_t)got / sizeof *entries : 0;
        }
        if (i % PAGES_AT_ONCE < known && !was_written(entries[i % PAGES_AT_ONCE]))
            continue;
        uint64_t bytes = m->to - at < 2 * page ? m->to - at : 2 * page; /* it may reach into the next */
        capture_search(s, copy, read_process(&pid, at, copy, bytes), page, at);
    }
    free(copy);
}

/* ---- what must be copied ---- */

struct plan {
    struct image *image;
    struct ration ration;
    enum quarry_need depth; /* the last kind that is copied */
    bool rehearsal, busy;
    uint64_t cost[2], end[2]; /* of links alone, and of links and headers: bytes, and some for each piece */
    int64_t cache_offset;
};

static void plan_heap(void *context, const struct quarry_heap *heap)
{
    struct plan *p = context;
    p->busy |= heap->zone_locked | heap->register_locked;
    p->cache_offset = heap->cache_offset;
}

static void plan_arena(void *context, const struct quarry_arena *arena)
{
    ((struct plan *)context)->busy |= arena->locked;
}

static void plan_cache(void *context, const struct quarry_cache *cache)
{
    ((struct plan *)context)->busy |= cache->locked;
}

/* Ranges come upwards, mostly. */
static void count(struct plan *p, unsigned which, uint64_t from, uint64_t to)
{
    uint64_t first = from & ~(IMAGE_LINE - 1), end = (to + IMAGE_LINE - 1) & ~(IMAGE_LINE - 1);
    if (first <= p->end[which] && from + IMAGE_LINE >= p->end[which])
        first = p->end[which]; /* it goes on in the line that the last one ended in, or behind it */
    else
        p->cost[which] += IMAGE_PIECE_COST;
    p->cost[which] += end > first ? end - first : 0;
    p->end[which] = end;
}

static enum quarry_need plan_need(void *context, enum quarry_need kind, uint64_t from, uint64_t to)
{
    struct plan *p = context;
    if (kind == QUARRY_NEED_LINKS)
        count(p, 0, from, to);
    if (kind != QUARRY_NEED_MARKS)
        count(p, 1, from, to);
    if (kind <= p->depth && !p->ration.spent)
        image_want(p->image, from, to);
    ration_use(&p->ration, 0);
    return p->rehearsal ? QUARRY_NEED_CELLS : p->depth;
}

/* Only who is at work is asked: nothing of the blocks is needed for that. */
static enum quarry_need need_nothing(void *context, enum quarry_need kind, uint64_t from, uint64_t to)
{
    (void)context, (void)kind, (void)from, (void)to;
    return QUARRY_NEED_MARKS;
}

static enum quarry_walk_status walk_image(struct plan *p, uint64_t layout,
                                          enum quarry_need (*need)(void *, enum quarry_need, uint64_t,
                                                                   uint64_t))
{
    const struct quarry_visitor visitor = {
        .heap = plan_heap, .arena = plan_arena, .cache = plan_cache, .need = need};
    struct quarry_walk walk = {.read = ration_read,
                               .read_context = &p->ration,
                               .layout = layout,
                               .visitor = &visitor,
                               .visitor_context = p,
                               .memory = walk_memory,
                               .memory_bytes = sizeof walk_memory};
    p->ration = (struct ration){.read = image_read, .context = p->image, .there = image_there};
    p->busy = false;
    memset(p->cost, 0, sizeof p->cost);
    memset(p->end, 0, sizeof p->end);
    return quarry_walk(&walk);
}

static enum quarry_walk_status make_plan(struct plan *p, uint64_t layout)
{
    image_fetch(p->image); /* what the last look needed, in few calls; the walk adds what is new */
    enum quarry_walk_status status = walk_image(p, layout, plan_need);
    image_fetch(p->image);
    return status;
}

/* ---- while it stands ---- */

struct look {
    const char *command;
    int pid;
    uint64_t layout;
    const char *library; /* the file that it is in; NULL: linked in, and which code is whose cannot be told */
    struct model *m;
    struct plan plan;
};

static uint64_t find_layout(struct look *l, int pagemap)
{
    struct model *m = l->m;
    struct search s = {.ration = {.read = image_read, .context = l->plan.image, .there = image_there}};
    image_set_live(l->plan.image, true);
    for (size_t i = 0; i < m->maps.count; i++)
        if (may_hold_layout(&m->maps.list[i]))
            search_map(l->pid, pagemap, &m->maps.list[i], &s);
    m->other_copies = s.copies ? s.copies - 1 : 0;
    return s.layout;
}

static void take_threads(struct look *l, const struct stop *s)
{
    struct model *m = l->m;
    free(m->threads);
    m->threads = allocate(s->count * sizeof *m->threads);
    m->thread_count = s->count;
    for (size_t i = 0; i < s->count; i++) {
        struct thread *t = &m->threads[i];
        *t = (struct thread){.tid = s->threads[i].tid,
                             .pointer = s->threads[i].pointer,
                             .pc = s->threads[i].pc,
                             .cache = QUARRY_NONE};
        uint64_t word = t->pointer + (uint64_t)l->plan.cache_offset; /* that leads to its cache */
        if (t->pointer)
            image_want(l->plan.image, word, word + sizeof word);
    }
    image_fetch(l->plan.image);
}

/* Stopped inside the library, it has taken or given something that no list may say yet. */
static bool is_inside(const void *context, const struct stopped_thread *t)
{
    const struct look *l = context;
    const struct map *code = t->pc ? maps_find(&l->m->maps, t->pc) : NULL;
    return code && l->library && strcmp(code->name, l->library) == 0;
}

/* `whatever`: also when some thread is at work, which is found out first, for that takes less than a copy. */
static const char *copy_standing(struct look *l, const struct stop *s, bool settled, bool whatever)
{
    image_set_live(l->plan.image, true);
    image_forget(l->plan.image);
    enum quarry_walk_status status = walk_image(&l->plan, l->layout, need_nothing);
    l->m->busy = l->plan.busy || !settled;
    if (status == QUARRY_WALK_DONE && (whatever || !l->m->busy)) {
        status = make_plan(&l->plan, l->layout);
        take_threads(l, s);
    }
    image_set_live(l->plan.image, false);
    return status == QUARRY_WALK_DONE ? NULL : quarry_walk_status_text(status);
}

/* A process that is killed may end while it is copied; what could be read at the end was there before. */
static bool is_still_there(struct look *l)
{
    char byte;
    return read_process(&l->pid, l->layout, &byte, sizeof byte) == sizeof byte;
}

static const char *stop_and_copy(struct look *l, bool last, bool *again)
{
    struct stop s;
    bool settled = false;
    const char *why = stop_process(l->pid, &s);
    if (!why && !last)
        why = stop_settle(&s, is_inside, l, &settled);
    if (why)
        return why;
    l->m->stops++;
    *again = s.straggles;
    if (!s.straggles) {
        why = copy_standing(l, &s, settled, last || s.foreign);
        *again = l->m->busy && !last && !s.foreign && !l->plan.ration.spent;
        if (!why && !is_still_there(l))
            why = "its memory went away while it was copied";
    }
    uint64_t stopped_us = stop_end(&s);
    if (l->m->stopped_us < stopped_us)
        l->m->stopped_us = stopped_us;
    stop_free(&s);
    return why;
}

/* Until nobody is at work in the heap. */
static const char *copy_heap(struct look *l)
{
    for (unsigned i = 1;; i++) {
        bool again = false;
        const char *why = stop_and_copy(l, i == STOPS_AT_MOST, &again);
        if (why || !again)
            return why;
        nanosleep(&(struct timespec){0, 300000 + (long)(i * 170000)}, NULL);
    }
}

/* ---- the rest of what is known of a process ---- */

static char *read_command_line(int pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    for (ssize_t i = 0; i + 1 < got; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    return copy_text(text);
}

static char *read_executable(int pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t got = readlink(path, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    return copy_text(text);
}

static void read_thread_name(int pid, struct thread *t)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, t->tid);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    size_t got = fread(t->name, 1, sizeof t->name - 1, file); /* a name may have line breaks of its own */
    t->name[got ? got - 1 : 0] = '\0';
    fclose(file);
}

enum page_state { PAGE_ABSENT, PAGE_RESIDENT, PAGE_SWAPPED, PAGE_HUGE };

/*
 * Ranges of huge pages, from kernels that can tell (6.7): ioctl PAGEMAP_SCAN, newer than the headers this is built
 * with.
 */
struct page_region {
    uint64_t from, to, categories;
};
struct page_scan {
    uint64_t size, flags, from, to, walked_to, regions, region_count, max_pages;
    uint64_t inverted, wanted, any_of, told;
};
#define PAGE_SCAN _IOWR('f', 16, struct page_scan)
#define PAGE_IS_HUGE (UINT64_C(1) << 6)

static void set_state(struct segment *s, uint64_t page, enum page_state state)
{
    s->pages[page / 4] |= (unsigned char)(state << (page % 4 * 2));
}

static void find_huge_pages(int pagemap, const struct model *m, struct segment *s, uint64_t first,
                            uint64_t last)
{
    struct page_region found[64];
    struct page_scan scan = {.size = sizeof scan,
                             .to = last * m->page_bytes,
                             .regions = (uintptr_t)found,
                             .region_count = sizeof found / sizeof found[0],
                             .wanted = PAGE_IS_HUGE,
                             .told = PAGE_IS_HUGE};
    for (uint64_t from = first * m->page_bytes; from < scan.to; from = scan.walked_to) {
        scan.from = from;
        int count = ioctl(pagemap, PAGE_SCAN, &scan);
        if (count < 0 || scan.walked_to <= from)
            return;
        for (int i = 0; i < count; i++)
            for (uint64_t page = found[i].from / m->page_bytes; page < found[i].to / m->page_bytes; page++)
                set_state(s, page - first, PAGE_HUGE);
    }
}

static uint64_t mapped_bytes(const struct maps *maps)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < maps->count; i++)
        bytes += maps->list[i].to - maps->list[i].from;
    return bytes;
}

static void read_pages(int pagemap, const struct model *m, struct segment *s)
{
    uint64_t entries[4096];
    uint64_t first = s->is.from / m->page_bytes, last = (s->is.to + m->page_bytes - 1) / m->page_bytes;
    s->pages = allocate((last - first + 3) / 4);
    for (uint64_t page = first; page < last;) {
        uint64_t count = last - page < 4096 ? last - page : 4096;
        ssize_t got = pread(pagemap, entries, count * sizeof entries[0], (off_t)(page * sizeof entries[0]));
        if (got <= 0)
            return; /* unmapped since */
        for (uint64_t i = 0; i < (uint64_t)got / sizeof entries[0]; i++, page++)
            set_state(s, page - first,
                      entries[i] & PAGEMAP_PRESENT   ? PAGE_RESIDENT
                      : entries[i] & PAGEMAP_SWAPPED ? PAGE_SWAPPED
                                                     : PAGE_ABSENT);
    }
    find_huge_pages(pagemap, m, s, first, last);
}

static void name_the_moment(struct model *m)
{
    time_t now = time(NULL);
    struct tm tm;
    strftime(m->taken_at, sizeof m->taken_at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

const char *capture_process_gone(int pid)
{
    char state = thread_state(pid, pid);
    return !state                         ? kill(pid, 0) != 0 && errno == ESRCH
                                                ? "no such process"
                                                : "it may not be seen in /proc, or none is mounted here"
           : state == 'Z' || state == 'X' ? "it has ended, or its main thread has (a zombie)"
                                          : NULL;
}

/* That a process ended while it was looked at may show in any way: `why` is said of one that did not. */
static int complain_look(const char *command, int pid, const char *why)
{
    const char *gone = capture_process_gone(pid);
    return complain(EXIT_FINDING, "%s: %d: %s", command, pid, gone ? gone : why);
}

/* The kernel's Yama keeps who may otherwise, the same user, from processes that are not its children. */
static bool yama_forbids(int pid)
{
    struct stat is;
    char path[64], scope = '0';
    snprintf(path, sizeof path, "/proc/%d", pid);
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_read = read(fd, &scope, 1) == 1;
    close(fd);
    return is_read && scope > '0' && stat(path, &is) == 0 && is.st_uid == geteuid();
}

static int complain_access(const char *command, int pid)
{
    int why = errno;
    if ((why == EACCES || why == EPERM) && yama_forbids(pid))
        return complain_look(
            command, pid,
            "no permission to look into this process: sysctl kernel.yama.ptrace_scope leaves it to "
            "root, or to nobody");
    return complain_look(
        command, pid,
        why == EACCES || why == EPERM
            ? "no permission to look into this process (same user, or root with CAP_SYS_PTRACE)"
        : why == ESRCH ? "it has no memory of its own (a thread of the kernel?)"
                       : strerror(why));
}

/* The list of mappings may be open to who may not read them. */
static bool may_read(int pid, const struct maps *maps)
{
    char byte;
    for (size_t i = 0; i < maps->count; i++) {
        if (may_hold_layout(&maps->list[i]))
            return read_process(&pid, maps->list[i].from, &byte, 1) == 1 || errno == EFAULT || errno == EIO;
    }
    return true;
}

/*
 * A rehearsal without stopping it tells how much there is to copy, and finds the memory for that. NULL: it is copied.
 */
static const char *rehearse_and_copy(struct look *l, bool whole)
{
    image_set_live(l->plan.image, true);
    enum quarry_walk_status status = make_plan(&l->plan, l->layout);
    if (status != QUARRY_WALK_DONE)
        return quarry_walk_status_text(status);
    if (!whole) {
        if (l->plan.cost[1] <= AT_MOST)
            l->plan.depth = QUARRY_NEED_CELLS;
        else if (l->plan.cost[0] <= AT_MOST)
            l->plan.depth = QUARRY_NEED_LINKS;
        image_forget(l->plan.image);
        make_plan(&l->plan, l->layout);
    }
    l->plan.rehearsal = false;
    image_make_room(l->plan.image);
    return copy_heap(l);
}

/* The kernel lists a line break in a path as \012. */
static bool is_name_of(const struct map *m, const char *path)
{
    const char *name = m->name;
    for (; *path; path++) {
        bool breaks = *path == '\n';
        if (breaks ? strncmp(name, "\\012", 4) != 0 : *name != *path)
            return false;
        name += breaks ? 4 : 1;
    }
    return !*name;
}

/* `pagemap`: -1 where it may not be read. */
static int look_at(const char *command, int pid, int pagemap, const struct capture_options *options,
                   struct model *m)
{
    char name[32];
    if (!maps_read(pid, false, &m->maps))
        return complain_access(command, pid);
    snprintf(name, sizeof name, "%d", pid);
    m->source = SOURCE_PROCESS;
    m->pid = pid;
    m->command = read_command_line(pid);
    m->executable = read_executable(pid);
    struct look l = {
        .command = command,
        .pid = pid,
        .m = m,
        .plan = {.depth = options->whole ? QUARRY_NEED_CELLS : QUARRY_NEED_MARKS, .rehearsal = true}};
    l.plan.image = image_new(pid, pagemap, &m->maps);
    l.layout = find_layout(&l, pagemap);
    if (!l.layout) {
        image_free(l.plan.image);
        return may_read(pid, &m->maps)
                   ? complain_look(command, pid, join_text(m->executable, "runs without Quarry", ' '))
                   : complain_access(command, pid);
    }
    const struct map *data = maps_find(&m->maps, l.layout);
    l.library = data && !is_name_of(data, m->executable) ? data->name : NULL;
    const char *why = rehearse_and_copy(&l, options->whole);
    if (why) {
        image_free(l.plan.image);
        return complain_look(command, pid, why);
    }
    name_the_moment(m);
    m->copied_bytes = image_bytes(l.plan.image);
    struct ration ration = {.read = image_read, .context = l.plan.image, .there = image_there};
    int result = capture_walk(command, name, &ration, l.layout, m);
    image_free(l.plan.image);
    for (size_t i = 0; i < m->thread_count; i++)
        read_thread_name(pid, &m->threads[i]);
    maps_free(&m->maps);
    if (!maps_read(pid, options->smaps, &m->maps))
        return complain_access(command, pid);
    uint64_t left = mapped_bytes(&m->maps); /* or they come from tables that were written over */
    for (size_t i = 0; pagemap >= 0 && i < m->segment_count; i++) {
        uint64_t bytes = m->segments[i].is.to - m->segments[i].is.from;
        if (bytes > left)
            continue;
        read_pages(pagemap, m, &m->segments[i]);
        left -= bytes;
    }
    return result;
}

int capture_process(const char *command, int pid, const struct capture_options *options, struct model *m)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap < 0 &&
        (errno == EMFILE || errno == ENFILE)) /* without it, less would be told: not for this reason */
        return complain_access(command, pid);
    int result = look_at(command, pid, pagemap, options, m);
    if (pagemap >= 0)
        close(pagemap);
    return result;
}
