/*
 * The hit paths of malloc and free, called a known number of times, for scripts/check-instructions.
 *
 *   hitpath SIZE N    allocates and frees one block of SIZE bytes N times
 *
 * The calls are made from functions of their own, so that the profile names their cost whatever the library
 * calls its symbols.
 */
#include <stdlib.h>

#define NOINLINE __attribute__((noinline))

NOINLINE void *call_malloc(size_t size);
NOINLINE void call_free(void *mem);

void *call_malloc(size_t size)
{
    void *mem = malloc(size);
    __asm__ volatile("" : "+r"(mem)::"memory");
    return mem;
}

void call_free(void *mem)
{
    free(mem);
    __asm__ volatile("" ::: "memory"); /* not a tail call: the profile shall show who called */
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t size = strtoul(argv[1], NULL, 10);
    for (unsigned long n = strtoul(argv[2], NULL, 10); n > 0; n--)
        call_free(call_malloc(size));
    return 0;
}
