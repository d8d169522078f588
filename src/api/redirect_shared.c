/*
 * A library opened with RTLD_DEEPBIND looks for a name in itself and in what it is linked with first: it finds libc's
 * malloc and free, not ours, and sooner or later frees a block of the one with the other. So before such a library is
 * first opened, libc's own table of symbols is made to say that malloc, free and the like are ours: for who looks there
 * from then on. Whatever else the library wants to find elsewhere than the program does is as it was
 * (docs/decisions/0019-deepbind.md).
 */
#include "api/redirect.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <sys/mman.h>

#include "api/fork.h"
#include "api/init.h"
#include "api/symbols.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "os/pages.h"

static uint32_t redirected; /* atomic */
static struct qy_lock redirect_lock = QY_LOCK_INIT(QY_RANK_INIT);

/* Where linkers do not keep code apart, the table lies beside it, and can be executed. */
static int protection_of(const struct qy_symbols *s, const void *address)
{
    const ElfW(Phdr) *h = (const ElfW(Phdr) *)((const char *)s->file + s->file->e_phoff);
    for (unsigned i = 0; i < s->file->e_phnum; i++) {
        if (h[i].p_type == PT_LOAD && (uintptr_t)address - (uintptr_t)s->base - h[i].p_vaddr < h[i].p_memsz)
            return PROT_READ | (h[i].p_flags & PF_X ? PROT_EXEC : 0);
    }
    return PROT_READ;
}

/* Who is not let keeps what it is without us. */
static void set_symbol(const struct qy_symbols *s, ElfW(Sym) * symbol, const void *value)
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

struct redirection {
    struct qy_symbols ours, libc;
};

/*
 * What ours pass on to the next one. Who looks for that one from now on, another thread or another library that stands
 * before libc's, must not find ours again.
 */
static bool passes_on(const char *name)
{
    static const char names[][8] = {"dlopen", "fork", "__fork", "forkpty", "daemon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Whatever else we export and libc does, too, in all versions. */
static void redirect_name(ElfW(Sym) * symbol, const char *name, void *context)
{
    const struct redirection *r = context;
    ElfW(Sym) *theirs = NULL;
    while (!passes_on(name) && (theirs = qy_symbol_named(&r->libc, name, theirs)) != NULL)
        set_symbol(&r->libc, theirs, qy_symbol_value(&r->ours, symbol));
}

/* Not so where the program has its own, or another copy of Quarry comes first: that is what all others shall get. */
static bool malloc_is_ours(const struct qy_symbols *ours)
{
    const ElfW(Sym) *symbol = qy_symbol_named(ours, "malloc", NULL);
    return symbol && dlsym(RTLD_DEFAULT, "malloc") == qy_symbol_value(ours, symbol);
}

static QY_COLD void redirect_libc(void)
{
    struct redirection r;
    qy_init();
    /* Before the lock: these take the dynamic linker's, which who waits for ours may hold. */
    if (qy_load_acquire(&redirected) || !qy_symbols_of(&redirected, &r.ours) ||
        !qy_symbols_of((const void *)gnu_get_libc_version, &r.libc) || !malloc_is_ours(&r.ours))
        return;
    qy_fork_register();
    qy_lock(&redirect_lock);
    if (!redirected)
        qy_symbols_each(&r.ours, redirect_name, &r);
    qy_store_release(&redirected, 1); /* publishes libc's table to who opens the next one */
    qy_unlock(&redirect_lock);
}

/* It must end in a jump: by the address it will return to, libc knows whose RUNPATH to search. */
QY_EXPORT void *dlopen(const char *file, int mode)
{
    static void *next;
    __typeof(dlopen) *open = qy_symbol_behind(&next, "dlopen");
    if (mode & RTLD_DEEPBIND)
        redirect_libc();
    return open(file, mode);
}

void qy_redirect_reset(void)
{
    qy_lock_reset(&redirect_lock);
}
