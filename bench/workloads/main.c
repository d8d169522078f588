/*
 * workloads NAME [PARAMETER=VALUE...]
 *
 * Runs one workload and prints what it measured as NAME=VALUE lines. The resident size is read after
 * everything was freed; with idle=MS also after that many milliseconds of sleep, and once more after a little
 * activity, because an allocator without a thread of its own can give memory back only when it is called.
 */
#include "bench.h"

#include <fcntl.h>
#include <unistd.h>

static const struct workload {
    const char *name;
    uint64_t (*run)(void);
} workloads[] = {
    {"churn", churn},       {"lifo", lifo},
    {"fifo", fifo},         {"expiry", expiry},
    {"trees", trees},       {"strings", strings},
    {"grow", grow},         {"batch", batch},
    {"ring", ring},         {"lopsided", lopsided},
    {"server", server},     {"sharing-active", sharing_active},
    {"large", large},       {"sharing-passive", sharing_passive},
    {"aligned", aligned},   {"zeroed", zeroed},
    {"many", many},         {"fragment", fragment},
    {"latency", latency},   {"growth", growth},
    {"replay", replay},     {"random", random_load},
    {"larson", larson},     {"sh", sh},
    {"xmalloc", xmalloc},   {"mstress", mstress},
    {"rptest", rptest},     {"alloc-test", alloc_test},
    {"cfrac", cfrac},       {"glibc-simple", glibc_simple},
    {"map", map},           {"glibc-thread", glibc_thread},
    {"espresso", espresso},
};

static const struct workload *workload_find(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (!strcmp(workloads[i].name, name))
            return &workloads[i];
    fprintf(stderr, "workloads: no workload named %s\n", name);
    exit(2);
}

/* The exact resident size in KiB: smaps_rollup walks the page tables, while statm lags by a batch of pages a
 * CPU. */
static long resident_kib(void)
{
    char text[2048];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (length <= 0)
        return -1;
    text[length] = 0;
    const char *line = strstr(text, "Rss:");
    return line ? strtol(line + 4, NULL, 10) : -1;
}

static void some_activity(void)
{
    void *blocks[64];
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 64; i++)
            blocks[i] = take(16 + (size_t)i * 37 * (round % 8));
        for (unsigned i = 0; i < 64; i++)
            give(blocks[i]);
    }
}

static void idle(uint64_t milliseconds)
{
    struct timespec pause = {.tv_sec = (time_t)(milliseconds / 1000),
                             .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    double start = now_seconds();
    nanosleep(&pause, NULL);
    report("rss_idle_kib", (double)resident_kib());
    some_activity();
    report("rss_stirred_kib", (double)resident_kib());
    report("idle_s", now_seconds() - start);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: workloads NAME [PARAMETER=VALUE...]\n");
        return 2;
    }
    const struct workload *w = workload_find(argv[1]);
    params_set(argv + 2);
    double start = now_seconds();
    uint64_t operations = w->run();
    report("work_s", now_seconds() - start);
    report("ops", (double)operations);
    report("rss_after_kib", (double)resident_kib());
    if (param("idle", 0))
        idle(param("idle", 0));
    return 0;
}
