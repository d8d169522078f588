#include "script.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <malloc.h>

#include "memory.h"

/* ---- words ---- */

enum { MOST_STEPS = 10000, MOST_REPEATS = 1000 };

/* One line, read from left to right. */
struct reader {
    struct script *script;
    const char *line; /* its beginning */
    const char *at;
    const char *end;
    unsigned number;   /* of the line */
    unsigned repeated; /* {i}; 0: not in a repetition */
    bool failed;
};

static void fail(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first complaint about a line is the one worth reading. */
static void fail(struct reader *r, const char *at, const char *format, ...)
{
    if (r->failed)
        return;
    r->failed = true;
    unsigned column = 1;
    for (const char *c = r->line; c < at; c++)
        column += ((unsigned char)*c & 0xc0) != 0x80; /* characters, not bytes */
    fprintf(stderr, "quarry: %s:%u:%u: ", r->script->path, r->number, column);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

static bool at_end(struct reader *r)
{
    skip_blanks(r);
    return r->at == r->end;
}

/* What stands here, for "not '…'". */
static int here_length(struct reader *r)
{
    const char *end = r->at;
    while (end < r->end && *end != ' ' && *end != '\t')
        end++;
    return (int)(end - r->at);
}

static void expected(struct reader *r, const char *what)
{
    if (at_end(r))
        fail(r, r->at, "expected %s, and the line ends", what);
    else
        fail(r, r->at, "expected %s, not '%.*s'", what, here_length(r), r->at);
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool take_char(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* Letters, digits, '_' and {i}; with hyphens where `hyphens` says so. The result is the caller's. */
static char *take_word(struct reader *r, bool hyphens)
{
    skip_blanks(r);
    char word[128];
    size_t length = 0;
    const char *start = r->at;
    while (r->at < r->end && length < sizeof word - 16) {
        if (r->repeated && r->end - r->at >= 3 && strncmp(r->at, "{i}", 3) == 0 && r->at > start) {
            length += (size_t)sprintf(word + length, "%u", r->repeated);
            r->at += 3;
        } else if (is_word_char(*r->at) || (hyphens && *r->at == '-' && r->at > start)) {
            word[length++] = *r->at++;
        } else {
            break;
        }
    }
    if (length == 0 || isdigit((unsigned char)word[0])) {
        r->at = start;
        return NULL;
    }
    word[length] = '\0';
    return copy_text(word);
}

/* The word that stands next, without taking it. */
static bool next_is(struct reader *r, const char *word)
{
    skip_blanks(r);
    size_t length = strlen(word);
    return (size_t)(r->end - r->at) >= length && strncmp(r->at, word, length) == 0 &&
           (r->at + length == r->end || !is_word_char(r->at[length]));
}

static bool take_this(struct reader *r, const char *word)
{
    if (!next_is(r, word))
        return false;
    r->at += strlen(word);
    return true;
}

static char *copy_range(const char *from, const char *to)
{
    char *copy = allocate((size_t)(to - from) + 1);
    memcpy(copy, from, (size_t)(to - from));
    return copy;
}

/* The rest of the line, blanks at its ends removed. */
static char *take_rest(struct reader *r)
{
    skip_blanks(r);
    const char *end = r->end;
    while (end > r->at && isspace((unsigned char)end[-1]))
        end--;
    char *rest = copy_range(r->at, end);
    r->at = r->end;
    return rest;
}

/* ---- values ---- */

static const struct {
    const char *name;
    long value;
} constants[] = {
    {"NULL", 0},
    {"M_MXFAST", M_MXFAST},
    {"M_TRIM_THRESHOLD", M_TRIM_THRESHOLD},
    {"M_TOP_PAD", M_TOP_PAD},
    {"M_MMAP_THRESHOLD", M_MMAP_THRESHOLD},
    {"M_MMAP_MAX", M_MMAP_MAX},
    {"M_CHECK_ACTION", M_CHECK_ACTION},
    {"M_PERTURB", M_PERTURB},
    {"M_ARENA_TEST", M_ARENA_TEST},
    {"M_ARENA_MAX", M_ARENA_MAX},
    {"address_space", RLIMIT_AS},
    {"data", RLIMIT_DATA},
};

/* What a value may be made of besides variables; player.c says what they are. */
static const char *const names[] = {"break",   "top",    "top_size",       "faults",         "result",
                                    "threads", "arenas", "mmap_threshold", "trim_threshold", NULL};
static const struct {
    const char *name;
    unsigned values;
} functions[] = {
    {"size", 1}, {"prev_size", 1}, {"flags", 1},    {"word", 1}, {"fd", 1},
    {"bk", 1},   {"arena", 1},     {"resident", 2}, {"byte", 1}, {"usable", 1},
};

static struct node *new_node(enum node_kind kind)
{
    struct node *n = allocate(sizeof *n);
    n->kind = kind;
    return n;
}

static struct node *number_node(uint64_t number)
{
    struct node *n = new_node(NODE_NUMBER);
    n->number = number;
    return n;
}

static bool is_variable(const struct script *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->statements[i].variable && strcmp(s->statements[i].variable, name) == 0)
            return true;
    return false;
}

static struct node *take_value(struct reader *r);

static struct node *take_number(struct reader *r)
{
    if (r->repeated && r->end - r->at >= 3 && strncmp(r->at, "{i}", 3) == 0) {
        r->at += 3;
        return number_node(r->repeated);
    }
    char *end;
    uint64_t number = strtoull(r->at, &end, 0);
    const char *start = r->at;
    r->at = end;
    static const char suffixes[] = "kmg";
    const char *suffix = r->at < r->end && *r->at ? strchr(suffixes, tolower((unsigned char)*r->at)) : NULL;
    if (suffix) {
        number <<= 10 * (suffix - suffixes + 1);
        r->at++;
    }
    if (r->at < r->end && is_word_char(*r->at)) {
        r->at = start;
        expected(r, "a number (40, 0x28, 40k, 2m)");
    }
    return number_node(number);
}

static struct node *take_function(struct reader *r, const char *at, char *name, unsigned values)
{
    struct node *n = new_node(NODE_FUNCTION);
    n->name = name;
    if (!take_char(r, '(')) {
        fail(r, at, "%s is a function: %s(…)", name, name);
        return n;
    }
    n->left = take_value(r);
    if (values == 2 && !take_char(r, ','))
        expected(r, "','");
    if (values == 2)
        n->right = take_value(r);
    if (!take_char(r, ')'))
        expected(r, "')'");
    return n;
}

static struct node *take_term(struct reader *r)
{
    skip_blanks(r);
    const char *at = r->at;
    if (take_char(r, '-')) {
        struct node *n = new_node(NODE_SUBTRACT);
        n->left = number_node(0);
        n->right = take_term(r);
        return n;
    }
    if (take_char(r, '(')) {
        struct node *n = take_value(r);
        if (!take_char(r, ')'))
            expected(r, "')'");
        return n;
    }
    if (r->at < r->end && (isdigit((unsigned char)*r->at) || *r->at == '{'))
        return take_number(r);
    char *word = take_word(r, false);
    if (!word) {
        expected(r, "a number or a variable");
        return number_node(0);
    }
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (strcmp(word, constants[i].name) == 0)
            return number_node((uint64_t)constants[i].value);
    if (strcmp(word, "page") == 0)
        return number_node((uint64_t)sysconf(_SC_PAGESIZE));
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(word, functions[i].name) == 0)
            return take_function(r, at, word, functions[i].values);
    struct node *n = new_node(NODE_VARIABLE);
    n->name = word;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(word, names[i]) == 0)
            n->kind = NODE_NAME;
    if (n->kind == NODE_VARIABLE && !is_variable(r->script, word))
        fail(r, at, "nothing was called '%s' before this line", word);
    return n;
}

static struct node *take_pair(struct reader *r, const char *operators, struct node *(*part)(struct reader *))
{
    struct node *left = part(r);
    for (;;) {
        skip_blanks(r);
        if (r->failed || r->at == r->end || !strchr(operators, *r->at))
            return left;
        char op = *r->at++;
        struct node *n = new_node(op == '+'   ? NODE_ADD
                                  : op == '-' ? NODE_SUBTRACT
                                  : op == '*' ? NODE_MULTIPLY
                                              : NODE_DIVIDE);
        n->left = left;
        n->right = part(r);
        left = n;
    }
}

static struct node *take_product(struct reader *r)
{
    return take_pair(r, "*/", take_term);
}

static struct node *take_value(struct reader *r)
{
    return take_pair(r, "+-", take_product);
}

/* ---- calls ---- */

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
    while (!r->failed && !at_end(r)) {
        if (s->argument_count == call->most) {
            fail(r, r->at, "expected the end of the line: %s takes %s", call->name,
                 call->most ? call->arguments : "nothing");
            return;
        }
        s->arguments[s->argument_count++] = take_value(r);
        take_char(r, ',');
    }
    if (!r->failed && s->argument_count < call->least)
        fail(r, r->at, "expected %s %s, and the line ends", call->name, call->arguments);
    if (call->call == PLAY_WRITE || call->call == PLAY_READ) {
        if (s->argument_count == 1)
            s->arguments[s->argument_count++] = number_node(1);
        if (s->argument_count == 2)
            s->arguments[s->argument_count++] = number_node(FILL);
    }
}

static void take_call(struct reader *r, struct statement *s)
{
    skip_blanks(r);
    const char *at = r->at;
    char *word = take_word(r, false);
    if (word && take_char(r, '=')) {
        s->variable = word;
        skip_blanks(r);
        at = r->at;
        word = take_word(r, false);
    }
    const struct call *call = word ? find_call(word) : NULL;
    if (!call) {
        r->at = at;
        expected(r, "a call (malloc, free, realloc, calloc, memalign, write, …)");
        return;
    }
    if (s->variable && !has_result(call->call)) {
        fail(r, at, "%s gives nothing that '%s' could hold", call->name, s->variable);
        return;
    }
    s->kind = CALL;
    s->call = call->call;
    s->call_name = call->name;
    take_arguments(r, call, s);
    if (call->call == PLAY_FORK && s->thread != 1)
        fail(r, at, "fork is for thread 1");
    if (call->call == PLAY_EXIT && s->thread == 1)
        fail(r, at, "expected 'thread N: exit' with N from 2: the main thread stays");
}

/* ---- expectations ---- */

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
    skip_blanks(r);
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
    expected(r, all);
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
    while (!r->failed && !at_end(r)) {
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
    skip_blanks(r);
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
        size_t length = strlen(comparisons[i]);
        if ((size_t)(r->end - r->at) >= length && strncmp(r->at, comparisons[i], length) == 0) {
            strcpy(e->comparison, comparisons[i]);
            r->at += length;
            add_value(e, take_value(r));
            return;
        }
    }
    expected(r, "==, !=, <, <=, > or >=");
}

static void take_quoted(struct reader *r, struct expectation *e)
{
    if (!take_char(r, '"')) {
        expected(r, "a text in quotes");
        return;
    }
    const char *close = memchr(r->at, '"', (size_t)(r->end - r->at));
    if (!close) {
        r->at = r->end;
        expected(r, "'\"'");
        return;
    }
    add_word(e, copy_range(r->at, close));
    r->at = close + 1;
}

static void take_list(struct reader *r, struct expectation *e)
{
    e->kind = EXPECT_LIST;
    take_one_of(r, e, lists);
    if (!r->failed && strcmp(e->words[0], "unsorted") != 0 && at_end(r))
        expected(r, "the size of the chunks in it");
    take_values(r, e);
}

static void take_system_call(struct reader *r, struct expectation *e)
{
    e->kind = EXPECT_CALLS;
    if (e->no && at_end(r))
        return; /* none at all */
    take_one_of(r, e, system_calls);
}

static void take_expectation(struct reader *r, struct statement *s)
{
    struct expectation *e = &s->expect;
    s->kind = EXPECT;
    e->no = take_this(r, "no");
    if (take_this(r, "path")) {
        e->kind = EXPECT_PATH;
        take_one_of(r, e, stores);
        if (!at_end(r))
            take_one_of(r, e, dids);
    } else if (take_this(r, "call")) {
        take_system_call(r, e);
    } else if (take_this(r, "message")) {
        e->kind = EXPECT_MESSAGE;
        if (!e->no)
            take_quoted(r, e);
    } else if (e->no) {
        expected(r, "path, call or message");
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
        while (!r->failed && !at_end(r));
    } else if (take_this(r, "error")) {
        e->kind = EXPECT_ERROR;
        take_one_of(r, e, errors);
    } else if (take_this(r, "abort")) {
        e->kind = EXPECT_ABORT;
    } else {
        take_comparison(r, e);
    }
    if (!r->failed && !at_end(r))
        expected(r, "the end of the line");
}

/* ---- lines ---- */

/* Said beside the next step; several lines become one text. */
struct said {
    char *en, *zh;
    unsigned line;
};

static void say(char **text, char *more, bool spaced)
{
    if (!*text) {
        *text = more;
        return;
    }
    char *both = allocate(strlen(*text) + strlen(more) + 2);
    sprintf(both, "%s%s%s", *text, spaced ? " " : "", more);
    *text = both;
}

static struct statement *add_statement(struct reader *r)
{
    struct script *script = r->script;
    if (script->count == MOST_STEPS) {
        fail(r, r->at, "more than %d steps", MOST_STEPS);
        return NULL;
    }
    script->statements = grow(script->statements, script->count, sizeof *script->statements);
    struct statement *s = &script->statements[script->count];
    *s = (struct statement){.line = r->number, .thread = 1};
    return s;
}

/* The line as it reads in this repetition. */
static char *filled_in(const struct reader *r, const char *from)
{
    const char *end = r->end;
    while (end > from && isspace((unsigned char)end[-1]))
        end--;
    if (!r->repeated)
        return copy_range(from, end);
    char *text = allocate((size_t)(end - from) * 4 + 8), *to = text;
    while (from < end) {
        if (end - from >= 3 && strncmp(from, "{i}", 3) == 0) {
            to += sprintf(to, "%u", r->repeated);
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    return text;
}

static unsigned take_count(struct reader *r, unsigned most, const char *what)
{
    skip_blanks(r);
    const char *at = r->at;
    char *end = (char *)r->at;
    unsigned long n = isdigit((unsigned char)*r->at) ? strtoul(r->at, &end, 10) : 0;
    if (n < 1 || n > most) {
        fail(r, at, "expected %s from 1 to %u, not '%.*s'", what, most, here_length(r), at);
        return 1;
    }
    r->at = end;
    if (!take_char(r, ':'))
        expected(r, "':'");
    return (unsigned)n;
}

static bool take_profile(struct reader *r, bool *classic)
{
    *classic = take_this(r, "classic");
    if (*classic || take_this(r, "default"))
        return true;
    expected(r, "classic or default");
    return false;
}

static void read_statement(struct reader *r, unsigned thread, struct said *said)
{
    skip_blanks(r);
    const char *from = r->at;
    struct statement *s = add_statement(r);
    if (!s)
        return;
    s->thread = thread;
    s->column = (unsigned)(from - r->line) + 1;
    s->text = filled_in(r, from);
    if (take_this(r, "expect")) {
        if (r->script->count == 0)
            fail(r, from, "expected a step before the first expectation");
        take_expectation(r, s);
    } else if (take_this(r, "look")) {
        s->kind = SAY_ONLY;
    } else if (take_this(r, "restart")) {
        s->kind = RESTART;
        s->classic = r->script->classic;
        if (!at_end(r))
            take_profile(r, &s->classic);
    } else {
        take_call(r, s);
    }
    if (!r->failed && !at_end(r))
        expected(r, "the end of the line");
    if (s->kind != EXPECT) {
        s->en = said->en;
        s->zh = said->zh;
        *said = (struct said){0};
    }
    r->script->count++;
}

/* One or more statements, with ';' between them. */
static void read_statements(struct reader *r, unsigned thread, struct said *said)
{
    const char *end = r->end;
    while (!r->failed) {
        const char *part = memchr(r->at, ';', (size_t)(end - r->at));
        r->end = part ? part : end;
        read_statement(r, thread, said);
        r->end = end;
        if (!part || r->failed)
            break;
        r->at = part + 1;
    }
}

/* [thread N:] [repeat N:] STATEMENT [; STATEMENT]... */
static void read_step(struct reader *r, struct said *said)
{
    unsigned thread = 1, repeats = 0;
    for (;;) {
        if (take_this(r, "thread"))
            thread = take_count(r, PLAY_THREADS, "a thread");
        else if (!repeats && take_this(r, "repeat"))
            repeats = take_count(r, MOST_REPEATS, "a number of times");
        else
            break;
    }
    const char *body = r->at;
    for (unsigned i = 1; i <= (repeats ? repeats : 1) && !r->failed; i++) {
        r->at = body;
        r->repeated = repeats ? i : 0;
        read_statements(r, thread, said);
    }
}

static void add_setting(struct script *s, char *setting)
{
    s->settings = grow(s->settings, s->setting_count, sizeof *s->settings);
    s->settings[s->setting_count++] = setting;
}

static void read_covers(struct reader *r)
{
    struct script *s = r->script;
    while (!r->failed && !at_end(r)) {
        const char *at = r->at;
        char *id = take_word(r, true);
        if (!id || (strncmp(id, "M-", 2) != 0 && strncmp(id, "E-", 2) != 0)) {
            r->at = at;
            expected(r, "M-nn or E-nn");
            return;
        }
        s->covers = grow(s->covers, s->cover_count, sizeof *s->covers);
        s->covers[s->cover_count++] = id;
    }
}

/* What stands before the first step. False: the line is something else. */
static bool read_heading(struct reader *r)
{
    struct script *s = r->script;
    const char *at = r->at;
    if (take_this(r, "title") && take_char(r, ':')) {
        s->title = take_rest(r);
    } else if (r->at = at, take_this(r, "title") && take_this(r, "zh") && take_char(r, ':')) {
        s->title_zh = take_rest(r);
    } else if (r->at = at, take_this(r, "covers") && take_char(r, ':')) {
        read_covers(r);
    } else if (r->at = at, take_this(r, "profile")) {
        take_profile(r, &s->classic);
    } else if (r->at = at, take_this(r, "option") || take_this(r, "env")) {
        bool option = strncmp(at, "option", 6) == 0;
        char *setting = take_rest(r);
        if (!strchr(setting, option ? ':' : '='))
            fail(r, at, "expected %s", option ? "option KEY:VALUE" : "env NAME=VALUE");
        add_setting(s, setting);
    } else {
        r->at = at;
        return false;
    }
    if (s->count)
        fail(r, at, "title, covers, profile, option and env come before the first step");
    return true;
}

static void read_line(struct reader *r, struct said *said)
{
    skip_blanks(r);
    if (at_end(r) || *r->at == '#')
        return;
    const char *at = r->at;
    if (take_this(r, "en") && take_char(r, ':')) {
        say(&said->en, take_rest(r), true);
        said->line = r->number;
    } else if (r->at = at, take_this(r, "zh") && take_char(r, ':')) {
        say(&said->zh, take_rest(r), false);
        said->line = r->number;
    } else if (r->at = at, !read_heading(r)) {
        read_step(r, said);
    }
    if (!r->failed && !at_end(r))
        expected(r, "the end of the line");
}

/* A '#' after a blank begins a comment, but not in what is said. */
static const char *before_comment(const char *from, const char *end)
{
    if (strncmp(from, "en:", 3) == 0 || strncmp(from, "zh:", 3) == 0)
        return end;
    for (const char *c = from; c < end; c++)
        if (*c == '#' && (c == from || c[-1] == ' ' || c[-1] == '\t'))
            return c;
    return end;
}

bool script_read(const char *path, const char *text, struct script *script)
{
    *script = (struct script){.path = copy_text(path), .text = copy_text(text), .classic = true};
    struct said said = {0};
    struct reader r = {.script = script};
    for (const char *line = script->text; *line && !r.failed;) {
        const char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
        if (end > line && end[-1] == '\r')
            end--;
        r.line = r.at = line;
        r.end = before_comment(line, end);
        r.number++;
        r.repeated = 0;
        read_line(&r, &said);
        line = next;
    }
    if (!r.failed && (said.en || said.zh)) {
        r.number = said.line;
        r.at = r.line;
        fail(&r, r.line, "expected a step after what is said here (`look` is a step without a call)");
    }
    if (!r.failed && !script->count) {
        r.at = r.end;
        fail(&r, r.line, "there is no step in this script");
    }
    return !r.failed;
}
