#include "player.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "command.h"
#include "memory.h"

enum { HEADER = 16, TAGS = 15 };

struct player {
    const struct script *script;
    const char *host_path;
    struct host host;
    struct play *play;
    struct answer *answer;
    bool classic;
    struct variable {
        const char *name;
        uint64_t value;
    } * variables;
    size_t variable_count;
    enum play_result result;
};

static void complain_at(struct player *p, const struct statement *s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void complain_at(struct player *p, const struct statement *s, const char *format, ...)
{
    fprintf(stderr, "quarry: %s:%u:%u: %s: ", p->script->path, s->line, s->column, s->text);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static struct step *last_step(struct player *p)
{
    return p->play->count ? &p->play->steps[p->play->count - 1] : NULL;
}

/* ---- values ---- */

struct value {
    uint64_t number;
    const char *unknown; /* why there is none; NULL: there is one */
};

static struct value known(uint64_t number)
{
    return (struct value){.number = number};
}

static struct value unknown(const char *why)
{
    return (struct value){.unknown = why};
}

static struct value word_at(struct player *p, uint64_t address, size_t bytes)
{
    uint64_t word = 0;
    return host_read(&p->host, address, &word, bytes) ? known(word) : unknown("that memory cannot be read");
}

static struct value option_value(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->option_count; i++)
        if (strcmp(m->options[i].name, name) == 0)
            return known(m->options[i].value);
    return unknown("there is no such option");
}

static const struct chunk *top_chunk(const struct model *m)
{
    return m->arena_count && m->arenas[0].top ? model_chunk_at(m, m->arenas[0].top) : NULL;
}

static struct value named(struct player *p, const char *name)
{
    const struct step *step = last_step(p);
    if (!step)
        return unknown("nothing was done yet");
    const struct model *m = &step->model;
    if (strcmp(name, "break") == 0)
        return known(m->end_of_break);
    if (strcmp(name, "top") == 0)
        return known(top_chunk(m) ? top_chunk(m)->at + HEADER : 0);
    if (strcmp(name, "top_size") == 0)
        return known(top_chunk(m) ? top_chunk(m)->size : 0);
    if (strcmp(name, "faults") == 0)
        return known(step->fault_count);
    if (strcmp(name, "result") == 0)
        return known(step->reply.result);
    if (strcmp(name, "arenas") == 0)
        return known(m->arena_count);
    if (strcmp(name, "threads") == 0)
        return known(m->thread_count);
    return option_value(m, name);
}

static struct value resident(const struct model *m, uint64_t from, uint64_t bytes)
{
    uint64_t pages = 0, end = bytes < UINT64_MAX - from ? from + bytes : UINT64_MAX;
    for (size_t i = 0; i < m->segment_count; i++) { /* nothing is resident between them */
        const struct segment *s = &m->segments[i];
        uint64_t at = (from > s->is.from ? from : s->is.from) & ~(m->page_bytes - 1);
        for (; at < end && at < s->is.to; at += m->page_bytes)
            pages += play_page_state(m, at < s->is.from ? s->is.from : at) > 0;
    }
    return known(pages);
}

static struct value function(struct player *p, const char *name, uint64_t a, uint64_t b)
{
    if (strcmp(name, "byte") == 0)
        return word_at(p, a, 1);
    if (strcmp(name, "word") == 0)
        return word_at(p, a, 8);
    if (strcmp(name, "prev_size") == 0)
        return word_at(p, a - 16, 8);
    if (strcmp(name, "fd") == 0 || strcmp(name, "bk") == 0) {
        struct value link = word_at(p, a + (name[0] == 'b' ? 8 : 0), 8);
        link.number += HEADER; /* variables hold what malloc returned; links hold chunks */
        return link;
    }
    const struct step *step = last_step(p);
    if (!step)
        return unknown("nothing was done yet");
    if (strcmp(name, "resident") == 0)
        return resident(&step->model, a, b);
    if (strcmp(name, "arena") == 0) {
        const struct chunk *c = model_chunk_at(&step->model, a - HEADER);
        return c ? known(c->arena) : unknown("no chunk is there");
    }
    struct value word = word_at(p, a - 8, 8);
    if (strcmp(name, "flags") == 0)
        word.number &= 7;
    else
        word.number &= ~(uint64_t)TAGS;
    if (strcmp(name, "usable") == 0)
        word.number -= 8;
    return word;
}

static struct value evaluate(struct player *p, const struct node *n)
{
    if (n->kind == NODE_NUMBER)
        return known(n->number);
    if (n->kind == NODE_NAME)
        return named(p, n->name);
    if (n->kind == NODE_VARIABLE) {
        for (size_t i = p->variable_count; i-- > 0;)
            if (strcmp(p->variables[i].name, n->name) == 0)
                return known(p->variables[i].value);
        return unknown("the variable has no value");
    }
    struct value a = evaluate(p, n->left), b = n->right ? evaluate(p, n->right) : known(0);
    if (a.unknown || b.unknown)
        return a.unknown ? a : b;
    switch (n->kind) {
    case NODE_FUNCTION:
        return function(p, n->name, a.number, b.number);
    case NODE_ADD:
        return known(a.number + b.number);
    case NODE_SUBTRACT:
        return known(a.number - b.number);
    case NODE_MULTIPLY:
        return known(a.number * b.number);
    default:
        return b.number ? known(a.number / b.number) : unknown("division by zero");
    }
}

/* ---- the heap after a step ---- */

int play_page_state(const struct model *m, uint64_t address)
{
    const struct segment *s = model_segment_at(m, address);
    if (!s || !s->pages || address < s->is.from || address >= s->is.to)
        return -1;
    uint64_t page = (address - (s->is.from & ~(m->page_bytes - 1))) / m->page_bytes;
    return s->pages[page / 4] >> page % 4 * 2 & 3;
}

static bool holds_blocks(const struct segment *s)
{
    return s->is.kind == QUARRY_SEGMENT_BREAK || s->is.kind == QUARRY_SEGMENT_SUBHEAP ||
           s->is.kind == QUARRY_SEGMENT_RUNS || s->is.kind == QUARRY_SEGMENT_MAPPED;
}

/* The heap's pages that are resident now and were not before: each was one fault at least. */
static void find_faults(struct step *step, const struct step *before)
{
    const struct model *m = &step->model;
    for (size_t i = 0; i < m->segment_count; i++) {
        const struct segment *s = &m->segments[i];
        if (!holds_blocks(s))
            continue;
        for (uint64_t at = s->is.from & ~(m->page_bytes - 1); at < s->is.to; at += m->page_bytes) {
            if (play_page_state(m, at) <= 0 || (before && play_page_state(&before->model, at) > 0))
                continue;
            step->faults = grow(step->faults, step->fault_count, sizeof *step->faults);
            step->faults[step->fault_count++] = at;
        }
    }
}

/*
 * The walker says how large a chunk is, whatever its header says; the difference is what a lesson on overflows shows.
 */
static void find_written_over(struct player *p, struct step *step)
{
    for (size_t i = 0; i < step->model.chunk_count; i++) {
        const struct chunk *c = &step->model.chunks[i];
        struct value word = word_at(p, c->at + 8, 8);
        bool sealed = c->state != STATE_BROKEN && word.number >> 63; /* src/chunk/seal.h; bit 3 says not P */
        uint64_t says = sealed ? word.number & 0xfff7 : word.number;
        if (word.unknown || c->state == STATE_FENCE || says == (c->size | c->tags))
            continue;
        step->written_over = grow(step->written_over, step->written_over_count, sizeof *step->written_over);
        step->written_over[step->written_over_count++] = (struct written_over){c->at, word.number};
    }
}

static bool keep(struct player *p, const struct statement *s, const uint64_t *arguments)
{
    struct play *play = p->play;
    play->steps = grow(play->steps, play->count, sizeof *play->steps);
    struct step *step = &play->steps[play->count];
    const struct step *before = s->kind == RESTART ? NULL : last_step(p);
    *step = (struct step){.statement = s, .reply = p->answer->reply, .classic = p->classic};
    memcpy(step->arguments, arguments, sizeof step->arguments);
    step->event_count = p->answer->event_count;
    step->events = allocate((step->event_count + 1) * sizeof *step->events);
    memcpy(step->events, p->answer->events, step->event_count * sizeof *step->events);
    if (step->event_count == QY_PROBE_EVENTS)
        step->events_left_out = step->reply.happened - QY_PROBE_EVENTS;
    if (*p->answer->message)
        step->message = copy_text(p->answer->message);
    struct capture_options whole = {.whole = true};
    if (capture_process("play", p->host.pid, &whole, &step->model) != EXIT_FINE)
        return false;
    find_faults(step, before);
    find_written_over(p, step);
    play->count++;
    return true;
}

/* ---- carrying out ---- */

static enum play_result start(struct player *p, bool classic)
{
    const struct script *s = p->script;
    struct refusal refusal;
    host_end(&p->host);
    p->classic = classic;
    p->variable_count = 0;
    if (host_start(&p->host, p->host_path, classic, s->settings, s->setting_count, &refusal))
        return PLAY_FINE;
    if (!refusal.why)
        return PLAY_BROKEN;
    const struct place *at = &s->setting_places[refusal.setting];
    const char *why = strncmp(refusal.why, "quarry: ", 8) == 0 ? refusal.why + 8 : refusal.why;
    complain(0, "%s:%u:%u: %s", s->path, at->line, at->column, why);
    free(refusal.why);
    return PLAY_REFUSED;
}

static void set_variable(struct player *p, const char *name, uint64_t value)
{
    p->variables = grow(p->variables, p->variable_count, sizeof *p->variables);
    p->variables[p->variable_count++] = (struct variable){name, value};
}

static bool is_over(struct player *p)
{
    struct step *step = last_step(p);
    return step && step->reply.signal;
}

static enum play_result do_call(struct player *p, const struct statement *s)
{
    struct play_command command = {.call = s->call, .thread = s->thread};
    if (s->kind == SAY_ONLY)
        command = (struct play_command){.call = PLAY_HELLO, .thread = 1};
    if (is_over(p)) {
        if (s->kind == SAY_ONLY) {
            p->answer->event_count = 0;
            p->answer->message[0] = '\0';
            return keep(p, s, command.arguments) ? PLAY_FINE : PLAY_BROKEN;
        }
        complain_at(p, s, "the process has ended at line %u; `restart` begins a new one",
                    last_step(p)->statement->line);
        return PLAY_FALSE;
    }
    for (size_t i = 0; i < s->argument_count; i++) {
        struct value v = evaluate(p, s->arguments[i]);
        if (v.unknown) {
            complain_at(p, s, "argument %zu: %s", i + 1, v.unknown);
            return PLAY_FALSE;
        }
        command.arguments[i] = v.number;
    }
    if (!host_call(&p->host, &command, p->answer))
        return PLAY_BROKEN;
    if (!keep(p, s, command.arguments))
        return PLAY_BROKEN;
    if (s->variable)
        set_variable(p, s->variable, p->answer->reply.result);
    return PLAY_FINE;
}

static enum play_result do_restart(struct player *p, const struct statement *s)
{
    enum play_result result = start(p, s->classic);
    if (result != PLAY_FINE)
        return result;
    memset(&p->answer->reply, 0, sizeof p->answer->reply);
    p->answer->reply.pid = (uint32_t)p->host.pid;
    p->answer->event_count = 0;
    p->answer->message[0] = '\0';
    return keep(p, s, (uint64_t[3]){0}) ? PLAY_FINE : PLAY_BROKEN;
}

/* ---- expectations ---- */

/* What is true, for the complaint; empty: the expectation holds. */
struct truth {
    char text[512];
};

static void is_false(struct truth *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void is_false(struct truth *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->text, sizeof t->text, format, args);
    va_end(args);
}

static bool compares(uint64_t a, const char *op, uint64_t b)
{
    switch (op[0]) {
    case '=':
        return a == b;
    case '!':
        return a != b;
    case '<':
        return op[1] ? a <= b : a < b;
    default:
        return op[1] ? a >= b : a > b;
    }
}

static void check_comparison(const struct expectation *e, const uint64_t *v, struct truth *t)
{
    if (!compares(v[0], e->comparison, v[1]))
        is_false(t,
                 "the left side is %" PRIu64 " (0x%" PRIx64 "), the right side %" PRIu64 " (0x%" PRIx64 ")",
                 v[0], v[0], v[1], v[1]);
}

static bool is_cached(const struct model *m, uint64_t mem)
{
    for (size_t i = 0; i < m->cache_count; i++)
        for (size_t k = 0; k < m->caches[i].stack_count; k++)
            for (size_t b = 0; b < m->caches[i].stacks[k].is.count; b++)
                if (m->caches[i].stacks[k].blocks[b] == mem)
                    return true;
    return false;
}

static const char *state_of_cell(const struct model *m, const struct run *run, uint64_t mem)
{
    uint64_t offset = mem - run->is.at - run->is.first;
    if (!run->is.stride || mem < run->is.at + run->is.first || offset % run->is.stride)
        return "none";
    if (is_cached(m, mem))
        return "cached";
    switch (model_cell_state(run, (unsigned)(offset / run->is.stride))) {
    case CELL_IN_USE:
        return "in-use";
    case CELL_CACHED:
        return "cached";
    case CELL_REMOTE:
        return "inbox";
    case CELL_NONE:
        return "none";
    default:
        return "freed";
    }
}

/* In the words of the script. */
static const char *state_of(const struct model *m, uint64_t mem)
{
    const struct run *run = model_run_at(m, mem);
    if (run)
        return state_of_cell(m, run, mem);
    const struct chunk *c = model_chunk_at(m, mem - HEADER);
    if (!c)
        return "none";
    if (c->state == STATE_TOP)
        return "top";
    if (c->at + HEADER != mem)
        return "freed"; /* part of a larger free chunk, unless it is in use: then no block begins here */
    switch (c->state) {
    case STATE_IN_USE:
        return "in-use";
    case STATE_UNSORTED:
        return "unsorted";
    case STATE_BINNED:
        return c->size < 1024 ? "small" : "large";
    case STATE_FAST:
        return "fast";
    case STATE_CACHED:
        return "cached";
    case STATE_INBOX:
        return "inbox";
    case STATE_MAPPED:
        return "mapped";
    default:
        return state_names[c->state];
    }
}

static const char *place_of(const struct model *m, uint64_t address)
{
    const struct segment *s = model_segment_at(m, address);
    if (!s)
        return "none";
    switch (s->is.kind) {
    case QUARRY_SEGMENT_BREAK:
        return "break";
    case QUARRY_SEGMENT_SUBHEAP:
        return "subheap";
    case QUARRY_SEGMENT_RUNS:
        return "run";
    case QUARRY_SEGMENT_MAPPED:
        return "mapped";
    default:
        return "none";
    }
}

static void must_be(struct truth *t, const char *is, const char *wanted)
{
    if (strcmp(is, wanted) != 0)
        is_false(t, "it is '%s'", is);
}

/* The blocks of a list, as the program knows them. */
struct members {
    uint64_t *list;
    size_t count;
};

static void add_member(struct members *to, uint64_t mem)
{
    to->list = grow(to->list, to->count, sizeof *to->list);
    to->list[to->count++] = mem;
}

/* Top of the stack first: the order in which malloc hands them out. */
static void members_of_stack(const struct model *m, uint32_t tid, uint64_t size, struct members *to)
{
    for (size_t i = 0; i < m->cache_count; i++) {
        const struct cache *c = &m->caches[i];
        if (c->tid != (int)tid)
            continue;
        for (size_t k = 0; k < c->stack_count; k++)
            if (c->stacks[k].is.from == size)
                for (size_t b = c->stacks[k].is.count; b-- > 0;)
                    add_member(to, c->stacks[k].blocks[b]);
    }
}

static void members_of_bin(const struct model *m, const char *kind, uint64_t size, uint32_t arena,
                           struct members *to)
{
    enum quarry_list_kind wanted = kind[0] == 'f'   ? QUARRY_LIST_FAST
                                   : kind[0] == 'u' ? QUARRY_LIST_UNSORTED
                                   : kind[0] == 's' ? QUARRY_LIST_SMALL
                                                    : QUARRY_LIST_LARGE;
    for (size_t i = 0; i < m->list_count; i++) {
        const struct list *l = &m->lists[i];
        if (l->is.kind != wanted || l->is.arena != arena)
            continue;
        if (wanted != QUARRY_LIST_UNSORTED && (size < l->is.from || size > l->is.to))
            continue;
        for (size_t k = 0; k < l->count; k++)
            add_member(to, l->members[k] + HEADER);
    }
}

static void check_list(const struct step *step, const struct expectation *e, const uint64_t *v,
                       struct truth *t)
{
    struct members is = {0};
    const char *kind = e->words[0];
    bool sized = strcmp(kind, "unsorted") != 0;
    const uint64_t *wanted = v + sized;
    size_t count = e->value_count - sized;
    const struct chunk *first = count ? model_chunk_at(&step->model, wanted[0] - HEADER) : NULL;
    if (strcmp(kind, "tcache") == 0)
        members_of_stack(&step->model, step->reply.tid, v[0], &is);
    else
        members_of_bin(&step->model, kind, sized ? v[0] : 0, first ? first->arena : 0, &is);
    bool same = is.count == count;
    for (size_t i = 0; same && i < count; i++)
        same = is.list[i] == wanted[i];
    if (!same) {
        char all[400] = "";
        for (size_t i = 0; i < is.count && strlen(all) < 360; i++)
            snprintf(all + strlen(all), sizeof all - strlen(all), " 0x%" PRIx64, is.list[i]);
        is_false(t, "it holds%s", is.count ? all : " nothing");
    }
    free(is.list);
}

static void check_count(const struct model *m, const struct expectation *e, uint64_t wanted, struct truth *t)
{
    uint64_t count = 0;
    for (size_t i = 0; i < m->chunk_count; i++)
        count += strcmp(state_of(m, m->chunks[i].at + HEADER), e->words[0]) == 0;
    if (count != wanted)
        is_false(t, "there are %" PRIu64, count);
}

/* "fast-bin" is "fast bin". */
static bool same_name(const char *name, const char *word)
{
    for (; *name && (*name == *word || (*name == ' ' && *word == '-')); name++)
        word++;
    return *name == *word;
}

static const char *const store_names[] = {
#define NAME(name, text) text,
    QY_PROBE_STORES(NAME)};
static const char *const did_names[] = {QY_PROBE_DIDS(NAME)};
#undef NAME

/* Those that were recorded do not decide it. */
static void cannot_be_told(const struct step *step, struct truth *t)
{
    is_false(t, "it cannot be told: of this step's %" PRIu64 " events the first %zu were recorded",
             step->events_left_out + step->event_count, step->event_count);
}

static void check_order(const struct step *step, const struct expectation *e, struct truth *t)
{
    char asked[400] = "";
    size_t count = 0;
    bool same = true;
    for (size_t i = 0; i < step->event_count; i++) {
        if (step->events[i].did != QY_DID_ASKED)
            continue;
        const char *store = store_names[step->events[i].store];
        same &= count < e->word_count && same_name(store, e->words[count]);
        count++;
        snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s%s", count > 1 ? ", " : "", store);
    }
    if (same && step->events_left_out)
        cannot_be_told(step, t);
    else if (!same || count != e->word_count)
        is_false(t, "asked were: %s", *asked ? asked : "none");
}

static void check_path(const struct step *step, const struct expectation *e, struct truth *t)
{
    bool found = false;
    for (size_t i = 0; i < step->event_count; i++)
        found |= same_name(store_names[step->events[i].store], e->words[0]) &&
                 (e->word_count == 1 || same_name(did_names[step->events[i].did], e->words[1]));
    if (!found && step->events_left_out)
        cannot_be_told(step, t);
    else if (found == e->no)
        is_false(t, found ? "it is on the path" : "it is not on the path");
}

static void check_calls(const struct step *step, const struct expectation *e, struct truth *t)
{
    char calls[200] = "";
    bool found = false;
    for (size_t i = 0; i < step->event_count; i++) {
        if (step->events[i].did < QY_DID_BRK)
            continue;
        const char *name = did_names[step->events[i].did];
        found |= e->word_count == 0 || strcmp(name, e->words[0]) == 0;
        snprintf(calls + strlen(calls), sizeof calls - strlen(calls), " %s", name);
    }
    if (!found && step->events_left_out)
        cannot_be_told(step, t);
    else if (found == e->no)
        is_false(t, "system calls:%s", *calls ? calls : " none");
}

static void check_message(const struct step *step, const struct expectation *e, struct truth *t)
{
    bool found = e->no ? !step->message : step->message && strstr(step->message, e->words[0]);
    if (!found)
        is_false(t, "printed was: %s", step->message ? step->message : "nothing");
}

static void check_error(const struct step *step, const struct expectation *e, struct truth *t)
{
    const char *name = step->reply.error == 0 ? "none" : strerrorname_np(step->reply.error);
    must_be(t, name ? name : "?", e->words[0]);
}

static void check(const struct step *step, const struct expectation *e, const uint64_t *v, struct truth *t)
{
    switch (e->kind) {
    case EXPECT_COMPARE:
        check_comparison(e, v, t);
        break;
    case EXPECT_STATE:
        must_be(t, state_of(&step->model, v[0]), e->words[0]);
        break;
    case EXPECT_WHERE:
        must_be(t, place_of(&step->model, v[0]), e->words[0]);
        break;
    case EXPECT_LIST:
        check_list(step, e, v, t);
        break;
    case EXPECT_COUNT:
        check_count(&step->model, e, v[0], t);
        break;
    case EXPECT_ORDER:
        check_order(step, e, t);
        break;
    case EXPECT_PATH:
        check_path(step, e, t);
        break;
    case EXPECT_CALLS:
        check_calls(step, e, t);
        break;
    case EXPECT_MESSAGE:
        check_message(step, e, t);
        break;
    case EXPECT_ERROR:
        check_error(step, e, t);
        break;
    case EXPECT_ABORT:
        if (step->reply.signal != SIGABRT)
            is_false(t, "the process goes on");
        break;
    }
}

static enum play_result do_expect(struct player *p, const struct statement *s)
{
    struct truth truth = {0};
    uint64_t *values = allocate((s->expect.value_count + 1) * sizeof *values);
    for (size_t i = 0; i < s->expect.value_count && !*truth.text; i++) {
        struct value v = evaluate(p, s->expect.values[i]);
        if (v.unknown)
            is_false(&truth, "%s", v.unknown);
        values[i] = v.number;
    }
    if (!*truth.text)
        check(last_step(p), &s->expect, values, &truth);
    free(values);
    if (!*truth.text) {
        p->play->checked++;
        return PLAY_FINE;
    }
    complain_at(p, s, "%s", truth.text);
    return PLAY_FALSE;
}

/* ---- all together ---- */

enum play_result play_run(const struct script *script, const char *host, struct play *play)
{
    *play = (struct play){.script = script};
    struct player p = {
        .script = script, .host_path = host, .play = play, .answer = allocate(sizeof *p.answer)};
    p.result = start(&p, script->classic);
    bool over = p.result != PLAY_FINE;
    for (size_t i = 0; i < script->count && !over; i++) {
        const struct statement *s = &script->statements[i];
        enum play_result result = s->kind == EXPECT    ? do_expect(&p, s)
                                  : s->kind == RESTART ? do_restart(&p, s)
                                                       : do_call(&p, s);
        if (result > p.result)
            p.result = result;
        over = result > PLAY_FALSE || (result == PLAY_FALSE && s->kind != EXPECT);
    }
    host_end(&p.host);
    free(p.answer);
    free(p.variables);
    return p.result;
}
