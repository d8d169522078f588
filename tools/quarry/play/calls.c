/* The calls of a script. Owns: what they are called, and how many values each takes. */
#include "reader.h"

#include <string.h>

static const struct call {
    const char *name;
    enum play_call call;
    unsigned least, most;
    const char *arguments;
} calls[] = {
    {"malloc", PLAY_MALLOC, 1, 1, "SIZE"},
    {"calloc", PLAY_CALLOC, 2, 2, "COUNT SIZE"},
    {"realloc", PLAY_REALLOC, 2, 2, "BLOCK SIZE"},
    {"reallocarray", PLAY_REALLOCARRAY, 3, 3, "BLOCK COUNT SIZE"},
    {"free", PLAY_FREE, 1, 1, "BLOCK"},
    {"memalign", PLAY_MEMALIGN, 2, 2, "ALIGNMENT SIZE"},
    {"aligned_alloc", PLAY_ALIGNED_ALLOC, 2, 2, "ALIGNMENT SIZE"},
    {"posix_memalign", PLAY_POSIX_MEMALIGN, 2, 2, "ALIGNMENT SIZE"},
    {"valloc", PLAY_VALLOC, 1, 1, "SIZE"},
    {"pvalloc", PLAY_PVALLOC, 1, 1, "SIZE"},
    {"usable", PLAY_USABLE, 1, 1, "BLOCK"},
    {"new", PLAY_NEW, 1, 1, "SIZE"},
    {"delete", PLAY_DELETE, 1, 1, "BLOCK"},
    {"trim", PLAY_TRIM, 1, 1, "PAD"},
    {"mallopt", PLAY_MALLOPT, 2, 2, "M_NAME VALUE"},
    {"malloc_stats", PLAY_STATS, 0, 0, ""},
    {"malloc_info", PLAY_INFO, 0, 0, ""},
    {"sbrk", PLAY_SBRK, 1, 1, "BYTES"},
    {"write", PLAY_WRITE, 2, 3, "ADDRESS COUNT [BYTE]"},
    {"touch", PLAY_WRITE, 1, 2, "ADDRESS [COUNT]"},
    {"read", PLAY_READ, 1, 2, "ADDRESS [COUNT]"},
    {"poke", PLAY_POKE, 2, 2, "ADDRESS WORD"},
    {"limit", PLAY_LIMIT, 2, 2, "address_space|data BYTES"},
    {"sleep", PLAY_SLEEP, 1, 1, "MILLISECONDS"},
    {"exit", PLAY_EXIT, 0, 0, ""},
    {"fork", PLAY_FORK, 0, 0, ""},
};

enum { FILL = 'A' };

static bool has_result(enum play_call call)
{
    return call != PLAY_FREE && call != PLAY_DELETE && call != PLAY_WRITE && call != PLAY_READ &&
           call != PLAY_POKE && call != PLAY_STATS && call != PLAY_INFO && call != PLAY_SLEEP &&
           call != PLAY_EXIT && call != PLAY_FORK && call != PLAY_LIMIT;
}

static const struct call *find_call(const char *name)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

static void take_arguments(struct reader *r, const struct call *call, struct statement *s)
{
    while (!r->failed && !reader_at_end(r)) {
        if (s->argument_count == call->most) {
            reader_fail(r, r->at, "expected the end of the line: %s takes %s", call->name,
                        call->most ? call->arguments : "nothing");
            return;
        }
        s->arguments[s->argument_count++] = take_value(r);
        take_char(r, ',');
    }
    if (!r->failed && s->argument_count < call->least)
        reader_fail(r, r->at, "expected %s %s, and the line ends", call->name, call->arguments);
    if (call->call == PLAY_WRITE || call->call == PLAY_READ) {
        if (s->argument_count == 1)
            s->arguments[s->argument_count++] = number_node(1);
        if (s->argument_count == 2)
            s->arguments[s->argument_count++] = number_node(FILL);
    }
}

void take_call(struct reader *r, struct statement *s)
{
    reader_skip_blanks(r);
    const char *at = r->at;
    char *word = take_word(r, false);
    if (word && take_char(r, '=')) {
        s->variable = word;
        reader_skip_blanks(r);
        at = r->at;
        word = take_word(r, false);
    }
    const struct call *call = word ? find_call(word) : NULL;
    if (!call) {
        r->at = at;
        reader_expected(r, "a call (malloc, free, realloc, calloc, memalign, write, …)");
        return;
    }
    if (s->variable && !has_result(call->call)) {
        reader_fail(r, at, "%s gives nothing that '%s' could hold", call->name, s->variable);
        return;
    }
    s->kind = CALL;
    s->call = call->call;
    s->call_name = call->name;
    take_arguments(r, call, s);
    if (call->call == PLAY_FORK && s->thread != 1)
        reader_fail(r, at, "fork is for thread 1");
    if (call->call == PLAY_EXIT && s->thread == 1)
        reader_fail(r, at, "expected 'thread N: exit' with N from 2: the main thread stays");
}
