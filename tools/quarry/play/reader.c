#include "reader.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <malloc.h>

#include "memory.h"
#include "words.h"

/* ---- words ---- */

/* The first complaint about a line is the one worth reading. */
void reader_fail(struct reader *r, const char *at, const char *format, ...)
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

void reader_skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

bool reader_at_end(struct reader *r)
{
    reader_skip_blanks(r);
    return r->at == r->end;
}

int reader_word_length(struct reader *r)
{
    const char *end = r->at;
    while (end < r->end && *end != ' ' && *end != '\t')
        end++;
    return (int)(end - r->at);
}

void reader_expected(struct reader *r, const char *what)
{
    if (reader_at_end(r))
        reader_fail(r, r->at, "expected %s, and the line ends", what);
    else
        reader_fail(r, r->at, "expected %s, not '%.*s'", what, reader_word_length(r), r->at);
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool take_char(struct reader *r, char c)
{
    reader_skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

char *take_word(struct reader *r, bool hyphens)
{
    reader_skip_blanks(r);
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
    reader_skip_blanks(r);
    size_t length = strlen(word);
    return (size_t)(r->end - r->at) >= length && strncmp(r->at, word, length) == 0 &&
           (r->at + length == r->end || !is_word_char(r->at[length]));
}

bool take_this(struct reader *r, const char *word)
{
    if (!next_is(r, word))
        return false;
    r->at += strlen(word);
    return true;
}

char *copy_range(const char *from, const char *to)
{
    char *copy = allocate((size_t)(to - from) + 1);
    memcpy(copy, from, (size_t)(to - from));
    return copy;
}

char *take_rest(struct reader *r)
{
    reader_skip_blanks(r);
    const char *end = r->end;
    while (end > r->at && isspace((unsigned char)end[-1]))
        end--;
    char *rest = copy_range(r->at, end);
    r->at = r->end;
    return rest;
}

/* ---- values ---- */

enum { MOST_OPERATORS = 10000 };

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

struct node *number_node(uint64_t number)
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

static struct node *take_number(struct reader *r)
{
    if (r->repeated && r->end - r->at >= 3 && strncmp(r->at, "{i}", 3) == 0) {
        r->at += 3;
        return number_node(r->repeated);
    }
    const char *start = r->at;
    uint64_t number = 0;
    bool is_number = words_number(start, &r->at, &number);
    static const char suffixes[] = "kmg";
    const char *suffix = r->at < r->end && *r->at ? strchr(suffixes, tolower((unsigned char)*r->at)) : NULL;
    if (suffix) {
        int shift = 10 * (int)(suffix - suffixes + 1);
        is_number &= number >> (64 - shift) == 0;
        number <<= shift;
        r->at++;
    }
    if (!is_number || (r->at < r->end && is_word_char(*r->at))) {
        r->at = start;
        reader_expected(r, "a number (40, 0x28, 40k, 2m)");
    }
    return number_node(number);
}

static struct node *take_function(struct reader *r, const char *at, char *name, unsigned values)
{
    struct node *n = new_node(NODE_FUNCTION);
    n->name = name;
    if (!take_char(r, '(')) {
        reader_fail(r, at, "%s is a function: %s(...)", name, name);
        return n;
    }
    n->left = take_value(r);
    if (values == 2 && !take_char(r, ','))
        reader_expected(r, "','");
    if (values == 2)
        n->right = take_value(r);
    if (!take_char(r, ')'))
        reader_expected(r, "')'");
    return n;
}

static struct node *take_term(struct reader *r);

static struct node *take_simple_term(struct reader *r)
{
    reader_skip_blanks(r);
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
            reader_expected(r, "')'");
        return n;
    }
    if (r->at < r->end && (isdigit((unsigned char)*r->at) || *r->at == '{'))
        return take_number(r);
    char *word = take_word(r, false);
    if (!word) {
        reader_expected(r, "a number or a variable");
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
        reader_fail(r, at, "nothing was called '%s' before this line", word);
    return n;
}

/* Whatever lies within something else is a term. */
static struct node *take_term(struct reader *r)
{
    enum { DEEPEST = 100 };
    if (r->depth == DEEPEST) {
        reader_fail(r, r->at, "nested more than %d deep", DEEPEST);
        return number_node(0);
    }
    r->depth++;
    struct node *n = take_simple_term(r);
    r->depth--;
    return n;
}

static struct node *take_pair(struct reader *r, const char *operators, struct node *(*part)(struct reader *))
{
    struct node *left = part(r);
    for (;;) {
        reader_skip_blanks(r);
        if (r->failed || r->at == r->end || !strchr(operators, *r->at))
            return left;
        if (++r->operators > MOST_OPERATORS) {
            reader_fail(r, r->at, "more than %d operators in one line", MOST_OPERATORS);
            return left;
        }
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

struct node *take_value(struct reader *r)
{
    return take_pair(r, "+-", take_product);
}
