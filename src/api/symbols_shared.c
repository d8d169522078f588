#include "api/symbols.h"

#include <dlfcn.h>
#include <string.h>

#include "base/atomic.h"

bool qy_symbols_of(const void *address, struct qy_symbols *s)
{
    Dl_info info;
    struct link_map *map;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP))
        return false;
    const uint32_t *hash = NULL;
    *s = (struct qy_symbols){.base = (const char *)map->l_addr, .file = info.dli_fbase};
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
static uint32_t chain_of(const struct qy_symbols *s, uint32_t i)
{
    return s->chains[i - s->first];
}

static uint32_t next_in_chain(const struct qy_symbols *s, uint32_t i)
{
    return chain_of(s, i) & 1 ? 0 : i + 1;
}

void qy_symbols_each(const struct qy_symbols *s,
                     void (*each)(ElfW(Sym) * symbol, const char *name, void *context), void *context)
{
    for (uint32_t b = 0; b < s->bucket_count; b++) {
        for (uint32_t i = s->buckets[b]; i; i = next_in_chain(s, i))
            each(&s->table[i], s->names + s->table[i].st_name, context);
    }
}

ElfW(Sym) * qy_symbol_named(const struct qy_symbols *s, const char *name, const ElfW(Sym) * after)
{
    uint32_t h = name_hash(name);
    uint32_t i = after ? next_in_chain(s, (uint32_t)(after - s->table)) : s->buckets[h % s->bucket_count];
    for (; i; i = next_in_chain(s, i)) {
        if ((chain_of(s, i) | 1) == (h | 1) && strcmp(s->names + s->table[i].st_name, name) == 0)
            return &s->table[i];
    }
    return NULL;
}

void *qy_symbol_behind(void **known, const char *name)
{
    void *found = qy_load_relaxed(known);
    if (QY_UNLIKELY(!found)) {
        found = dlsym(RTLD_NEXT, name);
        qy_store_relaxed(known, found);
    }
    return found;
}
