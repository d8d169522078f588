/* What a script expects of a step. Owns: their syntax, and the words that name states, stores and events. */
#include "reader.h"

#include <stdio.h>
#include <string.h>

#include "memory.h"

static void add_word(struct expectation *e, char *word)
{
    e->words = grow(e->words, e->word_count, sizeof *e->words);
    e->words[e->word_count++] = word;
}

static void add_value(struct expectation *e, struct node *value)
{
    e->values = grow(e->values, e->value_count, sizeof *e->values);
    e->values[e->value_count++] = value;
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

/* A word of a list, or a complaint that shows the list. */
static void take_one_of(struct reader *r, struct expectation *e, const char *const *list)
{
    reader_skip_blanks(r);
    const char *at = r->at;
    char *word = take_word(r, true);
    if (word && is_one_of(word, list)) {
        add_word(e, word);
        return;
    }
    r->at = at;
    char all[512] = "";
    for (size_t i = 0; list[i]; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "one of ", list[i]);
    reader_expected(r, all);
}

static const char *const states[] = {"in-use", "unsorted", "small",  "large", "fast", "cached",
                                     "inbox",  "top",      "mapped", "freed", "none", NULL};
static const char *const places[] = {"break", "subheap", "mapped", "run", "none", NULL};
static const char *const lists[] = {"tcache", "fast", "unsorted", "small", "large", NULL};
static const char *const stores[] = {
    "gate",         "tcache",    "arena",       "inbox",          "fast-bin", "small-bin",
    "unsorted-bin", "large-bin", "larger-bins", "last-remainder", "top",      "sub-heap",
    "mapped",       "run",       "zone",        "block",          "kernel",   NULL};
static const char *const dids[] = {
    "asked", "took",    "put",  "full", "sorted", "split",  "merged-back", "merged-ahead", "emptied", "moved",
    "grew",  "trimmed", "left", "made", "gone",   "raised", "carved",      "purged",       "refused", NULL};
static const char *const system_calls[] = {"brk", "mmap", "munmap", "mprotect", "madvise", "mremap", NULL};
static const char *const errors[] = {"ENOMEM", "EINVAL", "none", NULL};

static void take_values(struct reader *r, struct expectation *e)
{
    while (!r->failed && !reader_at_end(r)) {
        add_value(e, take_value(r));
        take_char(r, ',');
    }
}

static void take_comparison(struct reader *r, struct expectation *e)
{
    e->kind = EXPECT_COMPARE;
    add_value(e, take_value(r));
    if (r->failed)
        return;
    static const char *const comparisons[] = {"==", "!=", "<=", ">=", "<", ">"};
    reader_skip_blanks(r);
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
        size_t length = strlen(comparisons[i]);
        if ((size_t)(r->end - r->at) >= length && strncmp(r->at, comparisons[i], length) == 0) {
            strcpy(e->comparison, comparisons[i]);
            r->at += length;
            add_value(e, take_value(r));
            return;
        }
    }
    reader_expected(r, "==, !=, <, <=, > or >=");
}

static void take_quoted(struct reader *r, struct expectation *e)
{
    if (!take_char(r, '"')) {
        reader_expected(r, "a text in quotes");
        return;
    }
    const char *close = memchr(r->at, '"', (size_t)(r->end - r->at));
    if (!close) {
        r->at = r->end;
        reader_expected(r, "'\"'");
        return;
    }
    add_word(e, copy_range(r->at, close));
    r->at = close + 1;
}

static void take_list(struct reader *r, struct expectation *e)
{
    e->kind = EXPECT_LIST;
    take_one_of(r, e, lists);
    if (!r->failed && strcmp(e->words[0], "unsorted") != 0 && reader_at_end(r))
        reader_expected(r, "the size of the chunks in it");
    take_values(r, e);
}

static void take_system_call(struct reader *r, struct expectation *e)
{
    e->kind = EXPECT_CALLS;
    if (e->no && reader_at_end(r))
        return; /* none at all */
    take_one_of(r, e, system_calls);
}

void take_expectation(struct reader *r, struct statement *s)
{
    struct expectation *e = &s->expect;
    s->kind = EXPECT;
    e->no = take_this(r, "no");
    if (take_this(r, "path")) {
        e->kind = EXPECT_PATH;
        take_one_of(r, e, stores);
        if (!reader_at_end(r))
            take_one_of(r, e, dids);
    } else if (take_this(r, "call")) {
        take_system_call(r, e);
    } else if (take_this(r, "message")) {
        e->kind = EXPECT_MESSAGE;
        if (!e->no)
            take_quoted(r, e);
    } else if (e->no) {
        reader_expected(r, "path, call or message");
    } else if (take_this(r, "state")) {
        e->kind = EXPECT_STATE;
        add_value(e, take_value(r));
        take_one_of(r, e, states);
    } else if (take_this(r, "where")) {
        e->kind = EXPECT_WHERE;
        add_value(e, take_value(r));
        take_one_of(r, e, places);
    } else if (take_this(r, "list")) {
        take_list(r, e);
    } else if (take_this(r, "count")) {
        e->kind = EXPECT_COUNT;
        take_one_of(r, e, states);
        add_value(e, take_value(r));
    } else if (take_this(r, "order")) {
        e->kind = EXPECT_ORDER;
        do
            take_one_of(r, e, stores);
        while (!r->failed && !reader_at_end(r));
    } else if (take_this(r, "error")) {
        e->kind = EXPECT_ERROR;
        take_one_of(r, e, errors);
    } else if (take_this(r, "abort")) {
        e->kind = EXPECT_ABORT;
    } else {
        take_comparison(r, e);
    }
    if (!r->failed && !reader_at_end(r))
        reader_expected(r, "the end of the line");
}
