#include "os/limits.h"

#include <fcntl.h>
#include <time.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/kernel.h"
#include "os/sandbox.h"

static unsigned affinity_cpus(void)
{
    uint64_t set[8192 / 64]; /* a kernel for more processors than this holds refuses */
    /* With libc's function would come the 64 KiB around it, in every process. The kernel says how much it wrote. */
    long bytes = qy_kernel(SYS_sched_getaffinity, 0, sizeof set, (long)set);
    unsigned count = 0;
    for (long i = 0; i < bytes / (long)sizeof set[0]; i++)
        count += qy_count_bits(set[i]);
    return count ? count : 1;
}

/* Reads a decimal number at *at and steps over it and one blank; 0 when there is none ("max"). */
static uint64_t number(const char **at)
{
    uint64_t value = 0;
    while (**at >= '0' && **at <= '9')
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    while (**at == ' ')
        (*at)++;
    return value;
}

/* cgroup v2: "QUOTA PERIOD" or "max PERIOD", both in microseconds. */
static unsigned quota_cpus(void)
{
    if (qy_sandboxed())
        return ~0u;
    /* open, read and close would be cancellation points, and a lock is held. */
    long fd = qy_kernel(SYS_openat, AT_FDCWD, (long)"/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ~0u;
    char line[64];
    long length = qy_kernel(SYS_read, fd, (long)line, sizeof line - 1);
    qy_kernel(SYS_close, fd);
    if (length <= 0)
        return ~0u;
    line[length] = '\0';
    const char *at = line;
    uint64_t quota = number(&at), period = number(&at);
    if (quota == 0 || period == 0)
        return ~0u;
    return (unsigned)qy_max(1, (quota + period - 1) / period);
}

static struct {
    unsigned affinity, quota; /* atomic; 0: not asked yet */
} cpus;

void qy_limits_init(void)
{
    qy_store_relaxed(&cpus.affinity, affinity_cpus());
}

static unsigned affinity(void)
{
    if (!qy_load_relaxed(&cpus.affinity))
        qy_limits_init();
    return qy_load_relaxed(&cpus.affinity);
}

static unsigned quota(void)
{
    if (!qy_load_relaxed(&cpus.quota))
        qy_store_relaxed(&cpus.quota, quota_cpus());
    return qy_load_relaxed(&cpus.quota);
}

unsigned qy_limit_cpus(void)
{
    return (unsigned)qy_min(affinity(), quota());
}

/* Where there are more of them at once, they have used up a period's quota in an eighth of it, and all stand still. */
#define AT_ONCE 8

unsigned qy_limit_at_once(void)
{
    return (unsigned)qy_min(affinity(), (uint64_t)quota() * AT_ONCE);
}

uint64_t qy_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
