/*
 * mallopt and malloc_trim (M-41).
 */
#include <limits.h>

#include "api/init.h"
#include "arena/arena.h"
#include "options/options.h"
#include "quarry/malloc.h"
#include "run/zone.h"
#include "tcache/internal.h"
#include "tcache/roster.h"

QY_EXPORT int mallopt(int parameter, int value)
{
    qy_init();
    qy_arena_consolidate(qy_arena_main()); /* as ptmalloc, whatever is asked for */
    if (!qy_options_mallopt(parameter, value))
        return 0;
    if (parameter == M_PERTURB) {
        struct qy_tcache *t = qy_tcache_enter();
        if (t)
            qy_tcache_configure(t);
        qy_tcache_leave(t);
    }
    return 1;
}

QY_EXPORT int malloc_trim(size_t pad)
{
    qy_init();
    unsigned most = UINT_MAX;
    if (!qy_options.classic) /* ptmalloc's thread caches keep what they have */
        qy_roster_trim();
    bool any = qy_zone_purge(0, &most) != 0;
    for (struct qy_arena *a = qy_arena_first(); a; a = qy_load_acquire(&a->next))
        any |= qy_arena_trim(a, a->index == 0 ? pad : 0);
    return any;
}
