/*
 * fork (M-34): the forking thread holds every lock while the process is copied, so the child's arenas, zone and
 * registers are whole, and so are the runs of the other threads. Their stacks may be caught in the middle of anything:
 * the child forgets them, with the few blocks they hold.
 *
 * A process without other threads needs none of that, and must not have it: there, fork may be called by the handler of
 * a signal that interrupted a call of ours, or a fork, which would be waited for by itself.
 */
#include "api/fork.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "arena/arena.h"
#include "base/kernel.h"
#include "run/zone.h"
#include "segment/mapped.h"
#include "tcache/roster.h"

/*
 * glibc exports these; no header has the last three. Where the last are missing, there is nothing to hold.
 */
extern char __libc_single_threaded __attribute__((weak));
void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

/* The locks are held for a fork; of who holds them. */
static bool held;

/* A folder has a link for itself, one for its name, and one from each folder in it; here, each is a thread. */
static unsigned threads_by_links(void)
{
    struct stat threads;
    long failed = qy_kernel(SYS_newfstatat, AT_FDCWD, (long)"/proc/self/task", (long)&threads, 0);
    return failed ? 0 : (unsigned)threads.st_nlink - 2;
}

bool qy_fork_is_alone(void)
{
    return &__libc_single_threaded ? __libc_single_threaded : threads_by_links() == 1;
}

void qy_before_fork(void)
{
    if (qy_fork_is_alone())
        return;
    /*
     * fork takes it, too, after this handler: too late, as who has a stream may wait for us and be waited for by who
     * has the list.
     */
    if (_IO_list_lock)
        _IO_list_lock();
    qy_roster_lock();
    qy_arenas_lock();
    qy_zone_lock();
    qy_mapped_lock();
    qy_granules_lock();
    held = true;
}

void qy_after_fork_in_parent(void)
{
    if (!held)
        return;
    held = false;
    qy_granules_unlock();
    qy_mapped_unlock();
    qy_zone_unlock();
    qy_arenas_unlock();
    qy_roster_unlock();
    if (_IO_list_unlock)
        _IO_list_unlock();
}

void qy_after_fork_in_child(void)
{
    if (!held)
        return;
    held = false;
    qy_granules_reset();
    qy_mapped_reset();
    qy_zone_reset();
    qy_arenas_reset(qy_self->arena);
    qy_roster_reset();
    if (_IO_list_resetlock)
        _IO_list_resetlock();
}
