/*
 * A program that knows its own heap, for tests/scripts/see_truth.py: threads allocate, free and resize blocks of each
 * other, and a table in shared memory says of each what it is at any moment.
 *
 *      truth TABLE THREADS SEED
 *
 * A block is `changing` from before the call to after it: then, and only then, two answers are right.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 4096 };
enum state { NONE, CHANGING, LIVE };

struct slot {
    _Atomic uint64_t address;
    _Atomic uint32_t size;
    _Atomic uint32_t state;
};

static struct slot *table;

static uint64_t next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static size_t some_size(uint64_t *x)
{
    uint64_t dice = next(x) % 100;
    return dice < 80   ? next(x) % 600
           : dice < 97 ? next(x) % 8000
           : dice < 99 ? next(x) % 40000
                       : 150000 + next(x) % 100000;
}

static void note(struct slot *s, void *block, size_t size)
{
    if (block)
        memset(block, 0x5a, size < 64 ? size : 64);
    atomic_store(&s->address, (uint64_t)(uintptr_t)block);
    atomic_store(&s->size, (uint32_t)size);
    atomic_store(&s->state, block ? LIVE : NONE);
}

static void step(uint64_t *x)
{
    struct slot *s = &table[next(x) % SLOTS];
    uint32_t was = atomic_load(&s->state);
    if (was == CHANGING || !atomic_compare_exchange_strong(&s->state, &was, CHANGING))
        return;
    void *block = (void *)(uintptr_t)atomic_load(&s->address);
    size_t size = some_size(x);
    if (was == NONE) {
        note(s, malloc(size), size);
    } else if (next(x) % 8 == 0) {
        note(s, realloc(block, size + 1), size + 1);
    } else {
        free(block);
        note(s, NULL, 0);
    }
}

static void *work(void *seed)
{
    for (uint64_t x = (uint64_t)(uintptr_t)seed;;)
        step(&x);
    return NULL;
}

int main(int argc, char **argv)
{
    int fd = argc == 4 ? open(argv[1], O_RDWR) : -1;
    table = mmap(NULL, SLOTS * sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED)
        return 2;
    uint64_t seed = strtoull(argv[3], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    int threads = atoi(argv[2]);
    pthread_t thread;
    for (int i = 1; i < threads; i++)
        pthread_create(&thread, NULL, work, (void *)(uintptr_t)(seed + (uint64_t)i * 77));
    printf("ready\n");
    fflush(stdout);
    char go;
    if (read(0, &go, 1) != 1) /* the test looks at what there is so far */
        return 2;
    work((void *)(uintptr_t)seed);
    return 0;
}
