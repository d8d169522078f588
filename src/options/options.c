#define _GNU_SOURCE
#include "options/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/message.h"

enum type { BOOL, BYTES, COUNT, MS };

/* No pointers: the loader would have to write each at every start. */
struct option {
    uint64_t min, max, initial, classic;
    char name[16], tunable[16], env[24]; /* the last two are glibc's, or "" */
    uint16_t value;                      /* where in qy_options */
    int8_t mallopt;                      /* glibc's number, or 0 */
    uint8_t type;                        /* an enum type */
};

struct qy_options qy_options;

static const struct option table[] = {
#define OPTION(name, type, min, max, def, classic, env, tunable, mallopt, text) \
    {min, max, def, classic, #name, tunable, env, offsetof(struct qy_options, name), mallopt, type},
#include "options/options.def"
#undef OPTION
};

#define OPTION_COUNT (sizeof table / sizeof table[0])
#define FOR_EACH_OPTION(o) for (const struct option *o = table; o != table + OPTION_COUNT; o++)

static uint64_t *value_of(const struct option *o)
{
    return (uint64_t *)((char *)&qy_options + o->value);
}

/* A piece of somebody's string. */
struct slice {
    const char *at;
    size_t length;
};

static bool slice_is(struct slice s, const char *string)
{
    return strlen(string) == s.length && memcmp(s.at, string, s.length) == 0;
}

/* Cuts the part before the first `separator` off *rest; everything, when there is none. */
static struct slice cut(struct slice *rest, char separator)
{
    const char *end = memchr(rest->at, separator, rest->length);
    struct slice head = {rest->at, end ? (size_t)(end - rest->at) : rest->length};
    size_t used = head.length + (end ? 1 : 0);
    rest->at += used;
    rest->length -= used;
    return head;
}

static int digit(char c, int base)
{
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

static unsigned suffix_shift(char c)
{
    return c == 'k' || c == 'K' ? 10 : c == 'm' || c == 'M' ? 20 : c == 'g' || c == 'G' ? 30 : 0;
}

static struct slice without_head(struct slice s, size_t length)
{
    return (struct slice){s.at + length, s.length - length};
}

/* "128", "0x80", "0200" where a leading 0 means `base_of_0` 8, and for sizes "128k". Too large a number is the largest. */
static bool parse_number(struct slice s, bool suffixes, int base_of_0, uint64_t *value)
{
    int base = 10;
    if (s.length > 2 && s.at[0] == '0' && (s.at[1] == 'x' || s.at[1] == 'X')) {
        base = 16;
        s = without_head(s, 2);
    } else if (s.length > 1 && s.at[0] == '0') {
        base = base_of_0;
    }
    unsigned shift = 0;
    if (suffixes && base != 16 && s.length > 1 && (shift = suffix_shift(s.at[s.length - 1])) != 0)
        s.length--;
    uint64_t n = 0;
    bool too_large = false;
    for (size_t i = 0; i < s.length; i++) {
        int d = digit(s.at[i], base);
        if (d < 0)
            return false;
        too_large |=
            __builtin_mul_overflow(n, (uint64_t)base, &n) || __builtin_add_overflow(n, (uint64_t)d, &n);
    }
    *value = too_large || n > (UINT64_MAX >> shift) ? UINT64_MAX : n << shift;
    return s.length != 0;
}

static bool parse_bool(struct slice s, bool *value)
{
    *value = slice_is(s, "true") || slice_is(s, "1");
    return *value || slice_is(s, "false") || slice_is(s, "0");
}

static bool parse(const struct option *o, struct slice s, uint64_t *value)
{
    if (o->type != BOOL)
        return parse_number(s, o->type == BYTES, 10, value);
    bool on;
    bool valid = parse_bool(s, &on);
    *value = on;
    return valid;
}

/* As glibc's tunables, which have a sign; but the whole of it has to be a number. */
static bool parse_as_glibc(const struct option *o, struct slice s, uint64_t *value)
{
    bool negative = s.length && s.at[0] == '-';
    if (negative || (s.length && s.at[0] == '+'))
        s = without_head(s, 1);
    bool valid = parse_number(s, o->type == BYTES, 8, value);
    if (negative)
        *value = -*value;
    return valid;
}

static void end_complaint(struct qy_text *text)
{
    qy_text_add(text, "\n");
    qy_text_say(text);
    if (qy_options.abort_conf)
        _Exit(2);
}

/* Not so much that the rest of the message has no room. */
static void add_quoted(struct qy_text *text, struct slice s)
{
    bool cut_off = s.length > 100;
    qy_text_add_bytes(text, s.at, cut_off ? 100 : s.length);
    qy_text_add(text, cut_off ? "..." : "");
}

static void complain_value(const char *source, const struct option *o, struct slice value)
{
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: ");
    qy_text_add(&text, source);
    qy_text_add(&text, ": option ");
    qy_text_add(&text, o->name);
    qy_text_add(&text, ": '");
    add_quoted(&text, value);
    if (o->type == BOOL) {
        qy_text_add(&text, "' is not true or false");
    } else {
        qy_text_add(&text, "' is not in the range ");
        qy_text_add_decimal(&text, o->min);
        qy_text_add(&text, " to ");
        qy_text_add_decimal(&text, o->max);
    }
    if (!qy_options.abort_conf)
        qy_text_add(&text, "; the default stays");
    end_complaint(&text);
}

static void complain_name(const char *source, struct slice name)
{
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: ");
    qy_text_add(&text, source);
    qy_text_add(&text, ": unknown option '");
    add_quoted(&text, name);
    qy_text_add(&text, "'; known are");
    const char *before = " ";
    FOR_EACH_OPTION(o)
    {
        qy_text_add(&text, before);
        qy_text_add(&text, o->name);
        before = ", ";
    }
    end_complaint(&text);
}

static void assign(const struct option *o, uint64_t value)
{
    uint64_t *assigned = value_of(o);
    if (assigned == &qy_options.classic || assigned == &qy_options.abort_conf)
        return; /* known before all others */
    *assigned = value;
    if (assigned == &qy_options.trim_threshold || assigned == &qy_options.top_pad ||
        assigned == &qy_options.mmap_threshold || assigned == &qy_options.mmap_max)
        qy_options.dynamic_thresholds = false;
}

static void set_from(const char *source, const struct option *o, struct slice text)
{
    uint64_t value;
    if (parse(o, text, &value) && value >= o->min && value <= o->max)
        assign(o, value);
    else
        complain_value(source, o, text);
}

/*
 * By one of glibc's ways, which take negative numbers for large ones, and refuse nothing but what is too large for a
 * fast bin.
 */
static bool assign_as_glibc(const struct option *o, uint64_t value)
{
    if (value_of(o) == &qy_options.perturb)
        value &= 0xff;
    else if ((int64_t)value < 0 && value_of(o) == &qy_options.mmap_max)
        value = 0;
    if (value > o->max && value_of(o) == &qy_options.mxfast)
        return false;
    assign(o, value < o->max ? value : o->max);
    return true;
}

/* A variable that is empty is one that somebody wanted unset. */
static void set_as_glibc(const char *source, const struct option *o, struct slice text)
{
    uint64_t value;
    if (parse_as_glibc(o, text, &value))
        assign_as_glibc(o, value);
    else if (text.length)
        complain_value(source, o, text);
}

static const struct option *find(struct slice name)
{
    FOR_EACH_OPTION(o)
    {
        if (slice_is(name, o->name))
            return o;
    }
    return NULL;
}

/* The dynamic linker's: where the process's stack began, with argc, argv and the environment. Not in every libc. */
extern long *__libc_stack_end __attribute__((weak));

/* By the name that every libc has for it: glibc's header alone says so. */
extern char **__environ;

static char **environment(void)
{
    if (getauxval(AT_SECURE))
        return NULL;
    if (__environ || !&__libc_stack_end || !__libc_stack_end)
        return __environ;
    /* A program's .preinit_array runs before libc knows its environment. */
    return (char **)(__libc_stack_end + 1 + *__libc_stack_end + 1);
}

/* As secure_getenv, with which would come the 64 KiB around it, in every process. */
static const char *variable(const char *name)
{
    size_t length = strlen(name);
    for (char **at = environment(); at && *at; at++) {
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    }
    return NULL;
}

static void load_environment(void)
{
    FOR_EACH_OPTION(o)
    {
        const char *text = *o->env ? variable(o->env) : NULL;
        if (text)
            set_as_glibc(o->env, o, (struct slice){text, strlen(text)});
    }
}

/* GLIBC_TUNABLES=glibc.malloc.arena_max=2:glibc.rtld.nns=4 — what is not ours is not our business. */
static void load_tunables(void)
{
    static const char prefix[] = "glibc.malloc.";
    const char *text = variable("GLIBC_TUNABLES");
    struct slice rest = {text, text ? strlen(text) : 0};
    while (rest.length) {
        struct slice value = cut(&rest, ':');
        struct slice name = cut(&value, '=');
        if (name.length < sizeof prefix || memcmp(name.at, prefix, sizeof prefix - 1) != 0)
            continue;
        name.at += sizeof prefix - 1;
        name.length -= sizeof prefix - 1;
        FOR_EACH_OPTION(o)
        {
            if (*o->tunable && slice_is(name, o->tunable))
                set_as_glibc("GLIBC_TUNABLES", o, value);
        }
    }
}

static void load_conf(const char *source, const char *text)
{
    struct slice rest = {text, text ? strlen(text) : 0};
    while (rest.length) {
        struct slice value = cut(&rest, ',');
        if (value.length == 0)
            continue;
        struct slice name = cut(&value, ':');
        const struct option *o = find(name);
        if (o)
            set_from(source, o, value);
        else
            complain_name(source, name);
    }
}

/*
 * What a conf string makes of a BOOL option that was `on`, without complaint: some must be known before the others are
 * read.
 */
static bool peek(const char *text, const char *wanted, bool on)
{
    bool found;
    struct slice rest = {text, text ? strlen(text) : 0};
    while (rest.length) {
        struct slice value = cut(&rest, ',');
        struct slice name = cut(&value, ':');
        if (slice_is(name, wanted) && parse_bool(value, &found))
            on = found;
    }
    return on;
}

void qy_options_load(const char *built_in)
{
    const char *conf = variable("QUARRY_CONF");
    bool classic = peek(conf, "classic", peek(built_in, "classic", false));
    qy_options.dynamic_thresholds = true;
    FOR_EACH_OPTION(o)
    {
        *value_of(o) = classic ? o->classic : o->initial;
    }
    qy_options.abort_conf = peek(conf, "abort_conf", peek(built_in, "abort_conf", false));
    load_environment();
    load_tunables();
    load_conf("quarry_conf", built_in);
    load_conf("QUARRY_CONF", conf);
    if (qy_options.confirm_conf)
        qy_options_print();
}

bool qy_options_mallopt(int parameter, int value)
{
    FOR_EACH_OPTION(o)
    {
        if (o->mallopt == parameter && parameter != 0)
            return assign_as_glibc(o, (uint64_t)(int64_t)value);
    }
    return true; /* as glibc: a parameter nobody knows is not an error */
}

void qy_options_print(void)
{
    struct qy_text text = {0};
    FOR_EACH_OPTION(o)
    {
        qy_text_add(&text, "quarry: ");
        qy_text_add(&text, o->name);
        qy_text_add(&text, ":");
        if (o->type == BOOL)
            qy_text_add(&text, *value_of(o) ? "true" : "false");
        else
            qy_text_add_decimal(&text, *value_of(o));
        qy_text_add(&text, "\n");
        qy_text_say(&text);
    }
}
