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

/* "128", "0x80", and for sizes "128k". */
static bool parse_number(struct slice s, bool suffixes, uint64_t *value)
{
    int base = 10;
    if (s.length > 2 && s.at[0] == '0' && (s.at[1] == 'x' || s.at[1] == 'X')) {
        base = 16;
        s.at += 2;
        s.length -= 2;
    }
    unsigned shift = 0;
    if (suffixes && base == 10 && s.length > 1 && (shift = suffix_shift(s.at[s.length - 1])) != 0)
        s.length--;
    if (s.length == 0)
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < s.length; i++) {
        int d = digit(s.at[i], base);
        if (d < 0 || __builtin_mul_overflow(n, (uint64_t)base, &n) ||
            __builtin_add_overflow(n, (uint64_t)d, &n))
            return false;
    }
    if (n > (UINT64_MAX >> shift))
        return false;
    *value = n << shift;
    return true;
}

static bool parse(const struct option *o, struct slice s, uint64_t *value)
{
    if (o->type != BOOL)
        return parse_number(s, o->type == BYTES, value);
    *value = slice_is(s, "true") || slice_is(s, "1");
    return *value || slice_is(s, "false") || slice_is(s, "0");
}

static void end_complaint(struct qy_text *text)
{
    qy_text_add(text, "\n");
    qy_text_say(text);
    if (qy_options.abort_conf)
        _Exit(2);
}

static void complain_value(const char *source, const struct option *o, struct slice value)
{
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: ");
    qy_text_add(&text, source);
    qy_text_add(&text, ": option ");
    qy_text_add(&text, o->name);
    qy_text_add(&text, ": '");
    qy_text_add_bytes(&text, value.at, value.length);
    if (o->type == BOOL) {
        qy_text_add(&text, "' is not true or false");
    } else {
        qy_text_add(&text, "' is not in the range ");
        qy_text_add_decimal(&text, o->min);
        qy_text_add(&text, " to ");
        qy_text_add_decimal(&text, o->max);
    }
    qy_text_add(&text, "; the default stays");
    end_complaint(&text);
}

static void complain_name(const char *source, struct slice name)
{
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: ");
    qy_text_add(&text, source);
    qy_text_add(&text, ": unknown option '");
    qy_text_add_bytes(&text, name.at, name.length);
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

static const struct option *find(struct slice name)
{
    FOR_EACH_OPTION(o)
    {
        if (slice_is(name, o->name))
            return o;
    }
    return NULL;
}

/* As secure_getenv, with which would come the 64 KiB around it, in every process. */
static const char *variable(const char *name)
{
    size_t length = strlen(name);
    for (char **at = getauxval(AT_SECURE) ? NULL : __environ; at && *at; at++) {
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
            set_from(o->env, o, (struct slice){text, strlen(text)});
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
                set_from("GLIBC_TUNABLES", o, value);
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

/* The value of one BOOL option in a conf string, without complaint: some must be known before the others are read. */
static bool peek(const char *text, const char *wanted)
{
    bool on = false;
    struct slice rest = {text, text ? strlen(text) : 0};
    while (rest.length) {
        struct slice value = cut(&rest, ',');
        struct slice name = cut(&value, ':');
        if (slice_is(name, wanted))
            on = slice_is(value, "true") || slice_is(value, "1");
    }
    return on;
}

void qy_options_load(const char *built_in)
{
    const char *conf = variable("QUARRY_CONF");
    bool classic = peek(built_in, "classic") || peek(conf, "classic");
    qy_options.dynamic_thresholds = true;
    FOR_EACH_OPTION(o)
    {
        *value_of(o) = classic ? o->classic : o->initial;
    }
    qy_options.abort_conf = peek(built_in, "abort_conf") || peek(conf, "abort_conf");
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
        if (o->mallopt != parameter || parameter == 0)
            continue;
        /*
         * glibc takes its int for a size_t, -1 for the largest, and refuses nothing but what is too large for a fast
         * bin.
         */
        uint64_t wanted = (uint64_t)(int64_t)value;
        if (value_of(o) == &qy_options.perturb)
            wanted &= 0xff;
        else if (value < 0 && value_of(o) == &qy_options.mmap_max)
            wanted = 0;
        if (wanted > o->max && value_of(o) == &qy_options.mxfast)
            return false;
        assign(o, wanted < o->max ? wanted : o->max);
        return true;
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
