#include "memory.h"

#include "command.h"

#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (!memory)
        exit(complain(EXIT_OURSELVES, "out of memory"));
    return memory;
}

void *allocate(size_t bytes)
{
    return must(calloc(1, bytes ? bytes : 1));
}

void *grow(void *array, size_t count, size_t element)
{
    if (count & (count - 1))
        return array;
    return must(reallocarray(array, count ? count * 2 : 1, element));
}

char *copy_text(const char *text)
{
    return must(strdup(text));
}
