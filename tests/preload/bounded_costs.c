/* variants: default run_max0 onearena */
/* timeout: 240 */
/*
 * No operation costs more because a list is long that the program controls: the cost of one operation next to a short
 * and next to a long list, by sequences made to be the worst for it (docs/decisions/0006). ptmalloc, and the classic
 * profile, fail the second.
 */
#include "stress_blocks.h"

#include <time.h>

enum { SHORT = 1 << 6, LONG = 1 << 16, PROBES = 301 };

/* A long list may cost cache misses; a walk of it would cost a thousand times as much. */
#define ALLOWED 6.0

static void *blocks[LONG + 1], *fences[LONG + 1];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The median of what single operations take: being interrupted does not show. */
static double median_ns(void (*operation)(int))
{
    static double took[PROBES];
    for (int i = 0; i < PROBES; i++) {
        double start = now_ns();
        operation(i);
        took[i] = now_ns() - start;
    }
    qsort(took, PROBES, sizeof *took, by_value);
    return took[PROBES / 2];
}

/* In a process of its own, so that nothing is left over: the cost next to a list of `length`. */
static double cost_beside(void (*lay_out)(int), void (*operation)(int), int length)
{
    int ends[2];
    double ns = 0;
    QT_CHECK(pipe(ends) == 0);
    pid_t child = fork();
    QT_CHECK(child >= 0);
    if (child == 0) {
        mallopt(M_TRIM_THRESHOLD, 64 << 20); /* the kernel is not what is measured */
        lay_out(length);
        ns = median_ns(operation);
        _exit(write(ends[1], &ns, sizeof ns) == sizeof ns ? 0 : 1);
    }
    QT_CHECK(read(ends[0], &ns, sizeof ns) == sizeof ns);
    int status;
    QT_CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(ends[0]);
    close(ends[1]);
    return ns;
}

static void stays_flat(void (*lay_out)(int), void (*operation)(int))
{
    double few = cost_beside(lay_out, operation, SHORT), many = cost_beside(lay_out, operation, LONG);
    QT_CHECKF(many < ALLOWED * (few + 100), "%.0f ns beside %d, %.0f ns beside %d", few, SHORT, many, LONG);
}

/* --------------------------------------------------------------- bins */

enum { SIZES = 1240 };

/* Sizes of one bin of ptmalloc's, too large for a thread's cache, smallest last. */
static size_t size_of(int i)
{
    return 65000 - (size_t)(i % SIZES) * 16;
}

/* Free chunks of many sizes, none of which is a neighbour of another. */
static void free_many_sizes(int length)
{
    for (int i = 0; i < length; i++) {
        blocks[i] = malloc(size_of(i));
        fences[i] = malloc(1100);
    }
    for (int i = 0; i < length; i++)
        free(blocks[i]);
    free(malloc(100000)); /* all are filed now */
}

/*
 * From top, and back: memory that nobody had yet is the kernel's to give, and below it the hypervisor's, at any price.
 */
static void ask_for_more_than_is_there(int i)
{
    (void)i;
    free(malloc(65100));
}

QTEST("a request that nothing in a long bin serves costs no walk (M-14)")
{
    stays_flat(free_many_sizes, ask_for_more_than_is_there);
}

/*
 * One size after the other that belongs at the far end of a sorted bin: freed, and filed at the latest by the next
 * request.
 */
static void free_and_file(int i)
{
    free(blocks[LONG - i]);
    ask_for_more_than_is_there(i);
}

static void hold_some_and_free_many(int length)
{
    for (int i = LONG; i > LONG - PROBES; i--) {
        blocks[i] = malloc(65000 - (SIZES - 2) * 16);
        fences[i] = malloc(1100);
    }
    free_many_sizes(length < LONG - PROBES ? length : LONG - PROBES);
}

QTEST("filing a chunk in a long bin costs no walk (M-12, M-14)")
{
    stays_flat(hold_some_and_free_many, free_and_file);
}

/* --------------------------------------------------------------- what other threads give back */

static int given;

static void *give_back(void *context)
{
    for (int i = 0; i < given; i++)
        free(blocks[i]);
    return context;
}

static void others_free(int length, size_t size)
{
    for (int i = 0; i < length; i++)
        blocks[i] = malloc(size);
    given = length;
    thread_end(thread_start(give_back, NULL));
}

static void small_freed_by_others(int length)
{
    others_free(length, 200);
}

static void ask_for_small(int i)
{
    blocks[i] = malloc(200);
}

QTEST("what others gave back of small blocks is collected in pieces (M-10)")
{
    stays_flat(small_freed_by_others, ask_for_small);
}

static void medium_freed_by_others(int length)
{
    others_free(length, 3000);
}

static void ask_for_medium(int i)
{
    blocks[i] = malloc(3000);
}

QTEST("what others gave back of medium blocks is collected in pieces (M-32)")
{
    stays_flat(medium_freed_by_others, ask_for_medium);
}

/* --------------------------------------------------------------- runs with little room, mappings */

/* Every run has one free cell: the cost of finding room where most is taken. */
static void runs_with_one_cell_free(int length)
{
    for (int i = 0; i < length; i++)
        blocks[i] = malloc(1000);
    for (int i = 0; i < length; i += 63)
        free(blocks[i]);
}

static void ask_for_a_cell(int i)
{
    fences[i] = malloc(1000);
}

QTEST("one free cell in each of many runs is found without a walk (M-10)")
{
    stays_flat(runs_with_one_cell_free, ask_for_a_cell);
}

static void many_mappings(int length)
{
    for (int i = 0; i < length / 16; i++) /* within vm.max_map_count */
        blocks[i] = malloc(600000);
}

static void map_and_unmap(int i)
{
    (void)i;
    free(malloc(700000));
}

QTEST("a mapping beside many mappings costs no walk (M-21)")
{
    stays_flat(many_mappings, map_and_unmap);
}

/* --------------------------------------------------------------- a thread's end */

static pthread_key_t list_key;
static double destructor_ns;

static void give_list(void *list)
{
    double start = now_ns();
    for (void *next; list; list = next) {
        next = *(void **)list;
        free(list);
    }
    destructor_ns = now_ns() - start;
}

static void *leave_list(void *in_destructor)
{
    void *list = NULL;
    for (int i = 0; i < LONG; i++) {
        void **p = malloc(48);
        *p = list;
        list = p;
    }
    if (in_destructor)
        pthread_setspecific(list_key, list);
    else
        give_list(list);
    return NULL;
}

static double shortest_ns(void *in_destructor)
{
    double least = 1e12;
    for (int i = 0; i < 9; i++) {
        thread_end(thread_start(leave_list, in_destructor));
        least = destructor_ns < least ? destructor_ns : least;
    }
    return least;
}

QTEST("what a thread's destructors free costs no more than what it frees itself (M-33)")
{
    QT_EQ(pthread_key_create(&list_key, give_list), 0);
    double before = shortest_ns(NULL), in_destructor = shortest_ns(&list_key);
    QT_CHECKF(in_destructor < ALLOWED * before, "%.0f ns a block, %.0f ns in a destructor", before / LONG,
              in_destructor / LONG);
}

QTEST_MAIN
