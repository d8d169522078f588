/* The shared parts of bench.h. Calls no malloc, not even through stdio: the allocator under test sees only
 * the work. */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- parameters --- */

static char **param_words;

void params_set(char **words)
{
    param_words = words;
}

const char *param_text(const char *name, const char *fallback)
{
    size_t length = strlen(name);
    for (char **word = param_words; word && *word; word++)
        if (!strncmp(*word, name, length) && (*word)[length] == '=')
            return *word + length + 1;
    return fallback;
}

static double param_number(const char *name, double fallback)
{
    const char *text = param_text(name, NULL);
    if (!text)
        return fallback;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || value < 0)
        die(name);
    return value;
}

uint64_t param(const char *name, uint64_t fallback)
{
    return (uint64_t)param_number(name, (double)fallback);
}

uint64_t scaled(const char *name, uint64_t fallback)
{
    double value = param_number(name, (double)fallback) * param_number("scale", 1);
    return value < 1 ? 1 : (uint64_t)value;
}

/* --- output --- */

static void put(int file, const char *text, int length)
{
    if (length > 0 && write(file, text, (size_t)length) != length)
        _exit(3);
}

void report(const char *name, double value)
{
    char line[128];
    put(STDOUT_FILENO, line, snprintf(line, sizeof line, "%s=%.9g\n", name, value));
}

void die(const char *what)
{
    char line[128];
    put(STDERR_FILENO, line, snprintf(line, sizeof line, "workloads: %s\n", what));
    _exit(1);
}

/* --- sizes --- */

static double unit(struct rng *r) /* in (0, 1) */
{
    return ((double)(rng_next(r) >> 12) + 0.5) / 0x1p52;
}

static double draw(struct rng *r, const char *kind, double least, double most)
{
    if (!strcmp(kind, "uniform"))
        return least + unit(r) * (most - least + 1);
    if (!strcmp(kind, "power"))
        return least / pow(unit(r), 1 / 1.1);
    if (!strcmp(kind, "pow2"))
        return least * pow(2, floor(-log2(unit(r))));
    if (!strcmp(kind, "log"))
        return least * pow(most / least, unit(r));
    die("kind= is one of uniform, power, pow2, log");
}

void sizes_draw(struct sizes *s, const char *kind, size_t least, size_t most)
{
    struct rng r = {42};
    for (unsigned i = 0; i < SIZES_DRAWN; i++) {
        double size;
        do
            size = draw(&r, kind, (double)least, (double)most);
        while (size >= (double)most + 1);
        s->drawn[i] = (uint32_t)size;
    }
}

void sizes_of_params(struct sizes *s, const char *kind, size_t least, size_t most)
{
    sizes_draw(s, param_text("kind", kind), param("least", least), param("most", most));
}

/* --- pages, threads, time --- */

void *own_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        die("mmap");
    return pages;
}

void own_pages_drop(void *pages, size_t bytes)
{
    munmap(pages, bytes);
}

static void (*thread_work)(unsigned);

static void *thread_start(void *index)
{
    thread_work((unsigned)(uintptr_t)index);
    return NULL;
}

void threads_run(unsigned count, void (*work)(unsigned index))
{
    pthread_t ids[1024];
    if (count > sizeof ids / sizeof *ids)
        die("too many threads");
    thread_work = work;
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&ids[i], NULL, thread_start, (void *)(uintptr_t)i))
            die("pthread_create");
    for (unsigned i = 0; i < count; i++)
        pthread_join(ids[i], NULL);
}

void threads_run_or_main(unsigned count, void (*work)(unsigned index))
{
    if (count == 1)
        work(0);
    else
        threads_run(count, work);
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double now_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double cpu_seconds(void)
{
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}
