/* A model of what is left of a process: a core file. Owns: ELF segments and notes. */
#include "capture.h"
#include "command.h"
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)

struct piece {
    uint64_t from, bytes; /* that are in the file */
    uint64_t offset;
};

struct core {
    const unsigned char *bytes;
    uint64_t size;
    struct piece *pieces; /* by address */
    size_t count;
    bool cut_off;        /* the file ends before its segments do */
    unsigned char *read; /* a bit for each page of the file: the walk was there */
    uint64_t read_bytes; /* of these pages */
};

static int by_address(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static const struct piece *find_piece(const struct core *core, uint64_t address)
{
    size_t from = 0, to = core->count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (core->pieces[middle].from <= address)
            from = middle + 1;
        else
            to = middle;
    }
    return from && address - core->pieces[from - 1].from < core->pieces[from - 1].bytes
               ? &core->pieces[from - 1]
               : NULL;
}

static void note_read(struct core *core, uint64_t offset, size_t length)
{
    for (uint64_t page = offset / PAGE; page <= (offset + length - 1) / PAGE; page++) {
        unsigned char bit = (unsigned char)(1u << page % 8);
        core->read_bytes += core->read[page / 8] & bit ? 0 : PAGE;
        core->read[page / 8] |= bit;
    }
}

static size_t read_core(void *context, uint64_t address, void *buffer, size_t length)
{
    struct core *core = context;
    size_t done = 0;
    const struct piece *p;
    while (done < length && (p = find_piece(core, address + done)) != NULL) {
        uint64_t inside = address + done - p->from;
        size_t part = p->bytes - inside < length - done ? p->bytes - inside : length - done;
        memcpy((char *)buffer + done, core->bytes + p->offset + inside, part);
        note_read(core, p->offset + inside, part);
        done += part;
    }
    return done;
}

static uint64_t read_bytes(const void *core)
{
    return ((const struct core *)core)->read_bytes;
}

/* ---- segments ---- */

static void take_load(struct core *core, struct model *m, const GElf_Phdr *h)
{
    char perms[5] = {h->p_flags & PF_R ? 'r' : '-', h->p_flags & PF_W ? 'w' : '-',
                     h->p_flags & PF_X ? 'x' : '-', 'p'};
    if (h->p_memsz)
        maps_add(&m->maps, h->p_vaddr, h->p_vaddr + h->p_memsz, perms, "", false);
    uint64_t end = h->p_offset + h->p_filesz, have = h->p_filesz;
    if (end < h->p_offset || end > core->size) {
        core->cut_off = true;
        have = h->p_offset < core->size ? core->size - h->p_offset : 0;
    }
    if (!have)
        return;
    core->pieces = grow(core->pieces, core->count, sizeof *core->pieces);
    core->pieces[core->count++] = (struct piece){h->p_vaddr, have, h->p_offset};
}

/* ---- notes ---- */

static void name_map(struct model *m, uint64_t from, uint64_t to, const char *name)
{
    for (size_t i = 0; i < m->maps.count; i++) {
        struct map *map = &m->maps.list[i];
        if (map->from >= from && map->from < to && !map->is_file) {
            free(map->name);
            map->name = copy_text(name);
            map->is_file = true;
        }
    }
}

/* NT_FILE: count, page size, count times (from, to, offset), then the names. */
static void take_files(struct model *m, const unsigned char *desc, size_t size)
{
    uint64_t head[2], range[3];
    if (size < sizeof head)
        return;
    memcpy(head, desc, sizeof head);
    if (head[0] > (size - sizeof head) / sizeof range)
        return;
    const char *name = (const char *)desc + sizeof head + head[0] * sizeof range;
    const char *end = (const char *)desc + size;
    for (uint64_t i = 0; i < head[0] && name < end; i++) {
        size_t length = strnlen(name, (size_t)(end - name));
        if (name + length == end)
            return;
        memcpy(range, desc + sizeof head + i * sizeof range, sizeof range);
        name_map(m, range[0], range[1], name);
        name += length + 1;
    }
}

static void take_thread(struct model *m, const unsigned char *desc, size_t size)
{
    struct elf_prstatus status;
    if (size < sizeof status)
        return;
    memcpy(&status, desc, sizeof status);
    m->threads = grow(m->threads, m->thread_count, sizeof *m->threads);
    struct thread *t = &m->threads[m->thread_count++];
    *t = (struct thread){.tid = status.pr_pid, .cache = QUARRY_NONE};
#if defined(__x86_64__)
    struct user_regs_struct regs;
    memcpy(&regs, &status.pr_reg, sizeof regs);
    t->pointer = regs.fs_base;
    t->pc = regs.rip;
#endif
}

static void take_process(struct model *m, const unsigned char *desc, size_t size)
{
    struct elf_prpsinfo info;
    if (size < sizeof info)
        return;
    memcpy(&info, desc, sizeof info);
    char text[sizeof info.pr_psargs + 1] = {0};
    memcpy(text, info.pr_psargs, sizeof info.pr_psargs);
    free(m->command);
    m->command = copy_text(text);
    m->pid = info.pr_pid;
}

static void take_note(struct model *m, const GElf_Nhdr *note, const unsigned char *desc)
{
    switch (note->n_type) {
    case NT_PRSTATUS:
        take_thread(m, desc, note->n_descsz);
        break;
    case NT_PRPSINFO:
        take_process(m, desc, note->n_descsz);
        break;
    case NT_FILE:
        take_files(m, desc, note->n_descsz);
        break;
#if defined(__aarch64__)
    case NT_ARM_TLS: /* follows its thread's NT_PRSTATUS */
        if (m->thread_count && note->n_descsz >= sizeof(uint64_t))
            memcpy(&m->threads[m->thread_count - 1].pointer, desc, sizeof(uint64_t));
        break;
#endif
    default:
        break;
    }
}

static void take_notes(Elf *elf, struct model *m, const GElf_Phdr *h)
{
    Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)h->p_offset, h->p_filesz,
                                          h->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
    GElf_Nhdr note;
    size_t at = 0, name, desc;
    while (data && (at = gelf_getnote(data, at, &note, &name, &desc)) > 0)
        if (note.n_namesz == 5 && memcmp((char *)data->d_buf + name, "CORE", 5) == 0)
            take_note(m, &note, (unsigned char *)data->d_buf + desc);
#if defined(__aarch64__)
        else if (note.n_namesz == 6 && memcmp((char *)data->d_buf + name, "LINUX", 6) == 0)
            take_note(m, &note, (unsigned char *)data->d_buf + desc);
#endif
}

/* ---- all together ---- */

static const char *read_elf(struct core *core, struct model *m)
{
    elf_version(EV_CURRENT);
    Elf *elf = elf_memory((char *)core->bytes, core->size);
    GElf_Ehdr header;
    size_t count;
    const char *why = NULL;
    if (!elf || !gelf_getehdr(elf, &header) || elf_getphdrnum(elf, &count) != 0)
        why = "cannot be read as an ELF file";
    else if (header.e_type != ET_CORE)
        why = "is a program, not a core file";
    else if (gelf_getclass(elf) != ELFCLASS64)
        why = "is a core file of a 32-bit program";
    /* Segments first, so that the notes can name them. */
    for (int notes = 0; !why && notes < 2; notes++) {
        for (size_t i = 0; i < count; i++) {
            GElf_Phdr h;
            if (!gelf_getphdr(elf, (int)i, &h))
                continue;
            if (h.p_type == PT_LOAD && !notes)
                take_load(core, m, &h);
            if (h.p_type == PT_NOTE && notes)
                take_notes(elf, m, &h);
        }
    }
    elf_end(elf);
    maps_sort(&m->maps);
    if (core->count)
        qsort(core->pieces, core->count, sizeof *core->pieces, by_address);
    return why;
}

/* The descriptor is in a writable segment; which of them were files, a core need not say. */
static uint64_t find_layout(struct core *core, struct model *m)
{
    struct search s = {.ration = {.read = read_core, .context = core, .there = read_bytes}};
    for (size_t i = 0; i < core->count; i++) {
        const struct piece *p = &core->pieces[i];
        const struct map *map = maps_find(&m->maps, p->from);
        if (!map || map->perms[1] != 'w')
            continue;
        capture_search(&s, core->bytes + p->offset, p->bytes, p->bytes, p->from);
    }
    m->other_copies = s.copies ? s.copies - 1 : 0;
    return s.layout;
}

static int walk_core(const char *command, const char *path, struct core *core, struct model *m)
{
    const char *why = read_elf(core, m);
    if (why)
        return complain(EXIT_FINDING, "%s: %s: %s", command, path, why);
    uint64_t layout = find_layout(core, m);
    if (!layout)
        return complain(EXIT_FINDING, "%s: %s: %s", command, path,
                        core->cut_off ? "the file is cut off, and no Quarry is in what is left"
                                      : "no Quarry was in this process");
    if (core->cut_off)
        model_add_finding(m, 0, "truncated", "the core file is cut off: a part of the memory is not in it",
                          false);
    struct ration ration = {.read = read_core, .context = core, .there = read_bytes};
    return capture_walk(command, path, &ration, layout, m);
}

int capture_core(const char *command, const char *path, int fd, struct model *m)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return complain(EXIT_FINDING, "%s: %s: %s", command, path, strerror(errno));
    struct core core = {.size = (uint64_t)st.st_size};
    void *bytes = mmap(NULL, core.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (bytes == MAP_FAILED)
        return complain(EXIT_FINDING, "%s: %s: %s", command, path, strerror(errno));
    core.bytes = bytes;
    core.read = allocate(core.size / PAGE / 8 + 1);
    m->source = SOURCE_CORE;
    m->command = copy_text("");
    m->executable = copy_text("");
    struct tm tm;
    if (gmtime_r(&st.st_mtime, &tm)) /* a file may claim any year */
        strftime(m->taken_at, sizeof m->taken_at, "%Y-%m-%dT%H:%M:%SZ", &tm);
    int result = walk_core(command, path, &core, m);
    free(core.pieces);
    free(core.read);
    munmap(bytes, core.size);
    return result;
}
