/*
 * What the kernel says of this process's memory: its mappings, which of their pages are resident, its faults.
 *
 * Owns: reading /proc/self/maps, mincore and getrusage. Allocates nothing, so that looking changes nothing.
 */
#ifndef MECH_MAPS_H
#define MECH_MAPS_H

#include "qtest.h"

#include <stdint.h>

enum { PAGE = 4096 };

struct vma {
    uintptr_t start, end;
    bool readable, writable;
    bool heap; /* the kernel's "[heap]": what brk made */
};

/* Calls `visit` for each mapping in order of address until it returns false. */
static inline void vma_each(bool (*visit)(const struct vma *, void *), void *context)
{
    static _Thread_local char text[4096 + 1];
    size_t have = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    bool more = fd >= 0;
    while (more) {
        ssize_t n = read(fd, text + have, sizeof text - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        text[have] = 0;
        char *line = text, *newline;
        while (more && (newline = strchr(line, '\n'))) {
            *newline = 0;
            char *at;
            struct vma v;
            v.start = strtoul(line, &at, 16);
            v.end = strtoul(at + 1, &at, 16);
            v.readable = at[1] == 'r';
            v.writable = at[2] == 'w';
            v.heap = strstr(at, "[heap]") != NULL;
            more = visit(&v, context);
            line = newline + 1;
        }
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
    close(fd);
}

struct vma_search {
    uintptr_t address;
    struct vma found;
    long count;
};

static inline bool vma_visit_find(const struct vma *v, void *context)
{
    struct vma_search *s = context;
    if (s->address < v->start || s->address >= v->end)
        return true;
    s->found = *v;
    return false;
}

/* The mapping that holds this address; start == 0: none does. */
static inline struct vma vma_of(const volatile void *address)
{
    struct vma_search s = {(uintptr_t)address, {0, 0, false, false, false}, 0};
    vma_each(vma_visit_find, &s);
    return s.found;
}

static inline bool vma_visit_count(const struct vma *v, void *context)
{
    (void)v;
    ((struct vma_search *)context)->count++;
    return true;
}

static inline long vma_count(void)
{
    struct vma_search s = {0, {0, 0, false, false, false}, 0};
    vma_each(vma_visit_count, &s);
    return s.count;
}

static inline bool vma_visit_heap(const struct vma *v, void *context)
{
    struct vma_search *s = context;
    if (!v->heap)
        return true;
    s->found = *v;
    return false;
}

/* Where brk began: the start of the kernel's "[heap]". */
static inline uintptr_t brk_start(void)
{
    struct vma_search s = {0, {0, 0, false, false, false}, 0};
    vma_each(vma_visit_heap, &s);
    return s.found.start;
}

static inline uintptr_t brk_end(void)
{
    return (uintptr_t)sbrk(0);
}

static inline bool in_brk(const void *p)
{
    return (uintptr_t)p >= brk_start() && (uintptr_t)p < brk_end();
}

static inline uintptr_t page_down(uintptr_t a)
{
    return a & ~(uintptr_t)(PAGE - 1);
}
static inline uintptr_t page_up(uintptr_t a)
{
    return page_down(a + PAGE - 1);
}

/* Whether the page at this address belongs to any mapping. */
static inline bool is_mapped(const volatile void *p)
{
    unsigned char one;
    return mincore((void *)page_down((uintptr_t)p), PAGE, &one) == 0;
}

/* How many of the pages that lie wholly inside [p, p + n) are resident. */
static inline size_t resident_pages_inside(const volatile void *p, size_t n)
{
    uintptr_t at = page_up((uintptr_t)p), end = page_down((uintptr_t)p + n);
    size_t count = 0;
    while (at < end) {
        unsigned char present[1024];
        size_t step = end - at < sizeof present * PAGE ? end - at : sizeof present * PAGE;
        QT_CHECKF(mincore((void *)at, step, present) == 0, "mincore at %#lx: %s", (unsigned long)at,
                  strerror(errno));
        for (size_t i = 0; i < step / PAGE; i++)
            count += present[i] & 1;
        at += step;
    }
    return count;
}

static inline size_t whole_pages_inside(const volatile void *p, size_t n)
{
    uintptr_t at = page_up((uintptr_t)p), end = page_down((uintptr_t)p + n);
    return end > at ? (end - at) / PAGE : 0;
}

static inline long minor_faults(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

/* Pages become resident one by one, whatever the machine's setting for huge pages. */
static inline void no_huge_pages(void)
{
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

#endif
