/*
 * fork (M-34): the forking thread holds every lock while the process is copied, so the child's arenas, zone and registers
 * are whole, and so are the runs of the other threads. Their stacks may be caught in the middle of anything: the child
 * leaves them alone, with the few blocks they hold.
 */
#include "api/fork.h"

#include "arena/arena.h"
#include "run/zone.h"
#include "segment/mapped.h"
#include "tcache/roster.h"

void qy_before_fork(void)
{
    qy_roster_lock();
    qy_arenas_lock();
    qy_zone_lock();
    qy_mapped_lock();
    qy_granules_lock();
}

void qy_after_fork_in_parent(void)
{
    qy_granules_unlock();
    qy_mapped_unlock();
    qy_zone_unlock();
    qy_arenas_unlock();
    qy_roster_unlock();
}

void qy_after_fork_in_child(void)
{
    qy_granules_reset();
    qy_mapped_reset();
    qy_zone_reset();
    qy_arenas_reset(qy_self->arena);
    qy_roster_reset();
}
