#include "api/init.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/fork.h"
#include "arena/arena.h"
#include "base/kernel.h"
#include "base/lock.h"
#include "base/secret.h"
#include "chunk/freed.h"
#include "observe/layout.h"
#include "options/options.h"
#include "os/limits.h"
#include "os/pages.h"
#include "quarry/malloc.h"
#include "run/run.h"
#include "segment/mapped.h"
#include "tcache/roster.h"

/* A program may carry its options: `const char *quarry_conf = "k:v,...";` */
extern const char *quarry_conf __attribute__((weak));

uint32_t qy_ready;

static struct qy_lock init_lock = QY_LOCK_INIT(QY_RANK_INIT);

static void set_up(void)
{
    uint64_t secrets[QY_CLASSES + 7];
    qy_pages_init();
    qy_options_load(&quarry_conf ? quarry_conf : NULL);
    qy_secret_draw(secrets, QY_CLASSES + 7);
    qy_class_keys_init(secrets);
    qy_freed_secret = secrets[QY_CLASSES];
    qy_freed_factor = secrets[QY_CLASSES + 3] | 1;
    qy_seals_init(secrets + QY_CLASSES + 4, !qy_options.classic);
    qy_mapped_init(secrets[QY_CLASSES + 1]);
    if (!qy_options.classic) /* ptmalloc asks when it makes an arena */
        qy_limits_init();
    if (qy_options.run_max)
        qy_zone_init(secrets[QY_CLASSES + 2]);
    qy_roster_init();
    qy_layout_init();
}

void qy_init_slow(void)
{
    qy_lock(&init_lock);
    bool first = !qy_ready;
    if (first) {
        set_up();
        qy_store_release(&qy_ready, 1); /* publishes all of set_up to qy_init() */
    }
    qy_unlock(&init_lock);
    if (first)
        qy_fork_init(); /* may allocate, so it comes last */
}

/*
 * Where a report goes. Many programs close stderr when they end, to see whether all of it was written. Some close all
 * files, and may have one of their own by that number then: it is known by what it was.
 */
static int report_fd = -1;
static struct stat report_file;

/* Beyond the numbers that a program may count on. */
#define REPORT_FD_AT_LEAST 200

static __attribute__((constructor)) void init_at_load(void)
{
    /* It is hardly ever done; and who locks first touches a fresh page with a write, for one fault and not two. */
    qy_init_slow();
    if (qy_options.stats)
        report_fd = (int)qy_kernel(SYS_fcntl, STDERR_FILENO, F_DUPFD_CLOEXEC, REPORT_FD_AT_LEAST);
    if (report_fd >= 0)
        fstat(report_fd, &report_file);
}

static bool report_fd_is_ours(void)
{
    struct stat now;
    return report_fd >= 0 && fstat(report_fd, &now) == 0 && now.st_dev == report_file.st_dev &&
           now.st_ino == report_file.st_ino;
}

static __attribute__((destructor)) void report_at_exit(void)
{
    if (!qy_options.stats)
        return;
    if (report_fd_is_ours() && qy_kernel(SYS_fcntl, STDERR_FILENO, F_GETFD) < 0)
        qy_kernel(SYS_dup3, report_fd, STDERR_FILENO, O_CLOEXEC);
    malloc_stats();
}
