/*
 * Names that a loaded library defines, found in its own tables: without the dynamic linker, which would search other
 * libraries, too, and take its lock. Of libquarry.so, not of the archive.
 */
#ifndef QY_API_SYMBOLS_H
#define QY_API_SYMBOLS_H

#include <link.h>

#include "base/compiler.h"

/* The dynamic symbols of a library, by name: the GNU hash table of the ELF format. */
struct qy_symbols {
    const char *base;
    const ElfW(Ehdr) * file;
    ElfW(Sym) * table;
    const char *names;
    const uint32_t *buckets, *chains;
    uint32_t bucket_count, first;
};

/* Of the library that `address` lies in; takes the dynamic linker's lock. False: it has no such tables. */
bool qy_symbols_of(const void *address, struct qy_symbols *s);

/* Calls `each` for every symbol that the library defines. */
void qy_symbols_each(const struct qy_symbols *s,
                     void (*each)(ElfW(Sym) * symbol, const char *name, void *context), void *context);

/* The symbol of that name behind `after`, of which there is one for each version; NULL: no more. */
ElfW(Sym) * qy_symbol_named(const struct qy_symbols *s, const char *name, const ElfW(Sym) * after);

QY_INLINE void *qy_symbol_value(const struct qy_symbols *s, const ElfW(Sym) * symbol)
{
    return (void *)(s->base + symbol->st_value);
}

/* The function of that name behind ours, which whoever asks first puts into *known (atomic): all find the same. */
void *qy_symbol_behind(void **known, const char *name);

#endif
