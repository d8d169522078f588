/*
 * A library opened with RTLD_DEEPBIND looks for a name in itself and in what it is linked with first: it finds libc's malloc and free, not
 * ours, and sooner or later frees a block of the one with the other. So before such a library is first opened, libc's own
 * table of symbols is made to say that malloc, free and the like are ours: for who looks there from then on. Whatever else the
 * library wants to find elsewhere than the program does is as it was (docs/decisions/0019-deepbind.md).
 */
#include "api/redirect.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "api/init.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "os/pages.h"

static uint32_t redirected; /* atomic */
static struct qy_lock redirect_lock = QY_LOCK_INIT(QY_RANK_INIT);

/* The dynamic symbols that a library defines, by name: the GNU hash table of the ELF format. */
struct symbols {
    const char *base;
    const ElfW(Ehdr) * file;
    ElfW(Sym) * table;
    const char *names;
    const uint32_t *buckets, *chains;
    uint32_t bucket_count, first;
};

/* Of the library that `address` lies in. False: it has no such tables. */
static bool symbols_of(const void *address, struct symbols *s)
{
    Dl_info info;
    struct link_map *map;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP))
        return false;
    const uint32_t *hash = NULL;
    *s = (struct symbols){.base = (const char *)map->l_addr, .file = info.dli_fbase};
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            s->table = (ElfW(Sym) *)d->d_un.d_ptr;
        else if (d->d_tag == DT_STRTAB)
            s->names = (const char *)d->d_un.d_ptr;
        else if (d->d_tag == DT_GNU_HASH)
            hash = (const uint32_t *)d->d_un.d_ptr;
    }
    if (!s->table || !s->names || !hash)
        return false;
    s->bucket_count = hash[0];
    s->first = hash[1];
    s->buckets = hash + 4 + hash[2] * (sizeof(ElfW(Addr)) / sizeof *hash);
    s->chains = s->buckets + s->bucket_count;
    return s->bucket_count > 0;
}

static uint32_t name_hash(const char *name)
{
    uint32_t h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)*name;
    return h;
}

/* Each of a chain is one entry of the hash table; bit 0 ends it. */
static uint32_t chain_of(const struct symbols *s, uint32_t i)
{
    return s->chains[i - s->first];
}

/* Where linkers do not keep code apart, the table lies beside it, and can be executed. */
static int protection_of(const struct symbols *s, const void *address)
{
    const ElfW(Phdr) *h = (const ElfW(Phdr) *)((const char *)s->file + s->file->e_phoff);
    for (unsigned i = 0; i < s->file->e_phnum; i++) {
        if (h[i].p_type == PT_LOAD && (uintptr_t)address - (uintptr_t)s->base - h[i].p_vaddr < h[i].p_memsz)
            return PROT_READ | (h[i].p_flags & PF_X ? PROT_EXEC : 0);
    }
    return PROT_READ;
}

/* Who is not let keeps what it is without us. */
static void set_symbol(const struct symbols *s, ElfW(Sym) * symbol, const void *value)
{
    char *page = (char *)qy_align_down((uintptr_t)symbol, qy_page_bytes);
    size_t bytes = qy_align_up((uintptr_t)(symbol + 1), qy_page_bytes) - (uintptr_t)page;
    int protection = protection_of(s, symbol);
    if (mprotect(page, bytes, protection | PROT_WRITE) != 0)
        return;
    /* In one piece: another thread may look for it at this moment, and finds the one or the other. */
    qy_store_relaxed(&symbol->st_value, (ElfW(Addr))((const char *)value - s->base));
    mprotect(page, bytes, protection);
}

/* All versions of a name. */
static void redirect_name(const struct symbols *libc, const char *name, const void *ours)
{
    uint32_t h = name_hash(name), i = libc->buckets[h % libc->bucket_count];
    for (; i; i = chain_of(libc, i) & 1 ? 0 : i + 1) {
        if ((chain_of(libc, i) | 1) == (h | 1) && strcmp(libc->names + libc->table[i].st_name, name) == 0)
            set_symbol(libc, &libc->table[i], ours);
    }
}

/*
 * Whatever we export and libc does, too, but dlopen: another thread may be looking for the one behind ours, and would find ours. Who
 * calls libc's finds the rest in the table by then.
 */
static void redirect_all(const struct symbols *ours, const struct symbols *libc)
{
    for (uint32_t b = 0; b < ours->bucket_count; b++) {
        for (uint32_t i = ours->buckets[b]; i; i = chain_of(ours, i) & 1 ? 0 : i + 1) {
            const ElfW(Sym) *symbol = &ours->table[i];
            const char *name = ours->names + symbol->st_name;
            if (strcmp(name, "dlopen") != 0)
                redirect_name(libc, name, ours->base + symbol->st_value);
        }
    }
}

static QY_COLD void redirect_libc(void)
{
    struct symbols ours, libc;
    qy_init();
    /* Before the lock: dladdr1 takes the dynamic linker's, which who waits for ours may hold. */
    if (qy_load_acquire(&redirected) || !symbols_of(&redirected, &ours) ||
        !symbols_of((const void *)gnu_get_libc_version, &libc))
        return;
    qy_lock(&redirect_lock);
    if (!redirected)
        redirect_all(&ours, &libc);
    qy_store_release(&redirected, 1); /* publishes libc's table to who opens the next one */
    qy_unlock(&redirect_lock);
}

/* It must end in a jump: by the address it will return to, libc knows whose RUNPATH to search. */
QY_EXPORT void *dlopen(const char *file, int mode)
{
    static void *(*next)(const char *file, int mode); /* atomic: the one behind ours, whoever asks first */
    void *(*open)(const char *, int) = qy_load_relaxed(&next);
    if (QY_UNLIKELY(!open)) {
        *(void **)&open = dlsym(RTLD_NEXT, "dlopen");
        qy_store_relaxed(&next, open);
    }
    if (mode & RTLD_DEEPBIND)
        redirect_libc();
    return open(file, mode);
}

void qy_redirect_reset(void)
{
    qy_lock_reset(&redirect_lock);
}
