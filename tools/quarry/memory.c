#include "memory.h"

#include "command.h"

#include <stdio.h>
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

char *join_text(const char *a, const char *b, char between)
{
    if (!a || !*a || !b || !*b)
        return copy_text(a && *a ? a : b ? b : "");
    char *text = NULL;
    must(asprintf(&text, "%s%c%s", a, between, b) < 0 ? NULL : text);
    return text;
}
