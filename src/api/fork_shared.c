/*
 * Our handlers must be the first that are registered: then they run last before the fork, when those of the program,
 * which may allocate, or wait for a thread that does, are done. To register them at start-up costs every process 130
 * KiB of libc's pages, and most never fork. Here they are registered before the program forks with other threads about,
 * or registers its own (docs/decisions/0009-fork.md).
 *
 * Not seen here are libc's own forks, in system, popen and posix_spawn: their child runs nothing of ours.
 */
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <pty.h>
#include <string.h>
#include <unistd.h>

#include "api/fork.h"
#include "api/init.h"
#include "api/redirect.h"
#include "api/symbols.h"
#include "base/atomic.h"
#include "base/lock.h"

typedef void handler(void);

/* glibc exports these; no header has them. */
int __register_atfork(handler *before, handler *parent, handler *child, void *library);
pid_t __fork(void);

/*
 * The next ones behind ours: libc's, or those of another library that stands before it. Atomic; all are looked up at
 * start-up, since dlsym takes a lock of the dynamic linker: another thread may hold it and wait for one that forks. Who
 * forks before that, in the constructor of another library, is alone, and looks for itself.
 */
static struct {
    void *register_atfork, *fork, *forkpty, *daemon;
} next;

static int register_behind(handler *before, handler *parent, handler *child, void *library)
{
    __typeof(__register_atfork) *theirs = qy_symbol_behind(&next.register_atfork, "__register_atfork");
    return theirs(before, parent, child, library);
}

static uint32_t registered; /* atomic */
static struct qy_lock register_lock = QY_LOCK_INIT(QY_RANK_INIT);

/* Whose handlers they are: of a library that nobody unloads. */
static const char this_library;

/*
 * From 2.36 on, libc drops the lock of its list of handlers while it runs one, and so waits for it with our locks held,
 * when our handler is done; who registers has it, and may wait for our locks, as the list grows by malloc. So these two
 * exclude each other, from our handler to our handler. Before, libc kept its lock from the first handler on: there, a
 * fork would wait here for who waits for it.
 */
static bool lock_is_dropped;
static bool registering_waits; /* of who holds register_lock */

static void before_fork(void)
{
    if (lock_is_dropped && !qy_fork_is_alone()) {
        qy_lock(&register_lock);
        registering_waits = true;
    }
    qy_before_fork();
}

static bool was_held_up(void)
{
    bool was = registering_waits;
    registering_waits = false;
    return was;
}

static void after_in_parent(void)
{
    qy_after_fork_in_parent();
    if (was_held_up())
        qy_unlock(&register_lock);
}

static void after_in_child(void)
{
    qy_redirect_reset();
    qy_after_fork_in_child();
    if (was_held_up())
        qy_lock_reset(&register_lock);
}

void qy_fork_register(void)
{
    qy_init();
    /* Acquire: pairs with the release below. Nobody forks before they are registered, whoever does it. */
    if (qy_load_acquire(&registered))
        return;
    qy_lock(&register_lock);
    if (!registered) {
        lock_is_dropped = strverscmp(gnu_get_libc_version(), "2.36") >= 0;
        if (register_behind(before_fork, after_in_parent, after_in_child, (void *)&this_library) == 0)
            qy_store_release(&registered, 1);
    }
    qy_unlock(&register_lock);
}

/* What pthread_atfork calls, which is linked into each program and library. */
QY_EXPORT int __register_atfork(handler *before, handler *parent, handler *child, void *library)
{
    qy_fork_register();
    qy_lock(&register_lock);
    int result = register_behind(before, parent, child, library);
    qy_unlock(&register_lock);
    return result;
}

/* Who has no threads needs no handlers, and may be in a signal handler, where none can be registered. */
static void prepare(void)
{
    if (!qy_fork_is_alone())
        qy_fork_register();
}

static pid_t fork_after_handlers(void)
{
    prepare();
    __typeof(fork) *theirs = qy_symbol_behind(&next.fork, "fork");
    return theirs();
}

QY_EXPORT pid_t fork(void) QY_ALIAS(fork_after_handlers);
QY_EXPORT pid_t __fork(void) QY_ALIAS(fork_after_handlers);

QY_EXPORT pid_t forkpty(int *terminal, char *name, const struct termios *mode, const struct winsize *size)
{
    prepare();
    __typeof(forkpty) *theirs = qy_symbol_behind(&next.forkpty, "forkpty");
    return theirs(terminal, name, mode, size);
}

QY_EXPORT int daemon(int keep_folder, int keep_files)
{
    prepare();
    __typeof(daemon) *theirs = qy_symbol_behind(&next.daemon, "daemon");
    return theirs(keep_folder, keep_files);
}

/* Who opened this library with dlopen, or has another before it, does not fork through it. */
void qy_fork_init(void)
{
    qy_symbol_behind(&next.register_atfork, "__register_atfork");
    qy_symbol_behind(&next.fork, "fork");
    qy_symbol_behind(&next.forkpty, "forkpty");
    qy_symbol_behind(&next.daemon, "daemon");
    if (dlsym(RTLD_DEFAULT, "fork") != (void *)fork_after_handlers)
        qy_fork_register();
}
