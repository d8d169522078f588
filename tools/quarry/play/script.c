/* From lines to statements. Owns: headings, what is said, threads and repetitions, which are written out. */
#include "script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "reader.h"

enum { MOST_STEPS = 10000, MOST_REPEATS = 1000 };

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
        reader_fail(r, r->at, "more than %d steps", MOST_STEPS);
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
    reader_skip_blanks(r);
    const char *at = r->at;
    char *end = (char *)r->at;
    unsigned long n = isdigit((unsigned char)*r->at) ? strtoul(r->at, &end, 10) : 0;
    if (n < 1 || n > most) {
        reader_fail(r, at, "expected %s from 1 to %u, not '%.*s'", what, most, reader_word_length(r), at);
        return 1;
    }
    r->at = end;
    if (!take_char(r, ':'))
        reader_expected(r, "':'");
    return (unsigned)n;
}

static bool take_profile(struct reader *r, bool *classic)
{
    *classic = take_this(r, "classic");
    if (*classic || take_this(r, "default"))
        return true;
    reader_expected(r, "classic or default");
    return false;
}

static void read_statement(struct reader *r, unsigned thread, struct said *said)
{
    reader_skip_blanks(r);
    const char *from = r->at;
    struct statement *s = add_statement(r);
    if (!s)
        return;
    s->thread = thread;
    s->column = (unsigned)(from - r->line) + 1;
    s->text = filled_in(r, from);
    if (take_this(r, "expect")) {
        if (r->script->count == 0)
            reader_fail(r, from, "expected a step before the first expectation");
        take_expectation(r, s);
    } else if (take_this(r, "look")) {
        s->kind = SAY_ONLY;
    } else if (take_this(r, "restart")) {
        s->kind = RESTART;
        s->classic = r->script->classic;
        if (!reader_at_end(r))
            take_profile(r, &s->classic);
    } else {
        take_call(r, s);
    }
    if (!r->failed && !reader_at_end(r))
        reader_expected(r, "the end of the line");
    if (s->kind != EXPECT) {
        s->en = said->en;
        s->zh = said->zh;
        *said = (struct said){0};
    }
    r->script->count++;
}

static const char *next_semicolon(const char *from, const char *end)
{
    bool quoted = false;
    for (; from < end; from++)
        if (*from == '"')
            quoted = !quoted;
        else if (*from == ';' && !quoted)
            return from;
    return NULL;
}

/* One or more statements, with ';' between them. */
static void read_statements(struct reader *r, unsigned thread, struct said *said)
{
    const char *end = r->end;
    while (!r->failed) {
        const char *part = next_semicolon(r->at, end);
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

static void take_setting(struct reader *r, const char *at, bool option)
{
    struct script *s = r->script;
    char *setting = take_rest(r);
    const char *end_of_name = strchr(setting, option ? ':' : '=');
    if (!end_of_name || end_of_name == setting)
        reader_fail(r, at, "expected %s", option ? "option KEY:VALUE" : "env NAME=VALUE");
    s->settings = grow(s->settings, s->setting_count, sizeof *s->settings);
    s->setting_places = grow(s->setting_places, s->setting_count, sizeof *s->setting_places);
    s->settings[s->setting_count] = setting;
    s->setting_places[s->setting_count++] = (struct place){r->number, (unsigned)(at - r->line) + 1};
}

static void read_covers(struct reader *r)
{
    struct script *s = r->script;
    while (!r->failed && !reader_at_end(r)) {
        const char *at = r->at;
        char *id = take_word(r, true);
        if (!id || (strncmp(id, "M-", 2) != 0 && strncmp(id, "E-", 2) != 0)) {
            r->at = at;
            reader_expected(r, "M-nn or E-nn");
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
    } else if (r->at = at, take_this(r, "option")) {
        take_setting(r, at, true);
    } else if (r->at = at, take_this(r, "env")) {
        take_setting(r, at, false);
    } else {
        r->at = at;
        return false;
    }
    if (s->count)
        reader_fail(r, at, "title, covers, profile, option and env come before the first step");
    return true;
}

static void read_line(struct reader *r, struct said *said)
{
    reader_skip_blanks(r);
    if (reader_at_end(r) || *r->at == '#')
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
    if (!r->failed && !reader_at_end(r))
        reader_expected(r, "the end of the line");
}

/* A '#' after a blank begins a comment, but not in what is said. */
static const char *before_comment(const char *from, const char *end)
{
    from += strspn(from, " \t");
    if (strncmp(from, "en:", 3) == 0 || strncmp(from, "zh:", 3) == 0)
        return end;
    bool quoted = false;
    for (const char *c = from; c < end; c++)
        if (*c == '"')
            quoted = !quoted;
        else if (!quoted && *c == '#' && (c == from || c[-1] == ' ' || c[-1] == '\t'))
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
        r.operators = 0;
        read_line(&r, &said);
        line = next;
    }
    if (!r.failed && (said.en || said.zh)) {
        r.number = said.line;
        r.at = r.line;
        reader_fail(&r, r.line, "expected a step after what is said here (`look` is a step without a call)");
    }
    if (!r.failed && !script->count) {
        r.at = r.end;
        reader_fail(&r, r.line, "there is no step in this script");
    }
    return !r.failed;
}
