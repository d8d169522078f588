/*
 * A play in a terminal. Owns: how a step is laid out in lines, and the keys. In a pipe: all steps, one after another.
 */
#include "show.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

enum { BAR = 72, MOST_ROWS = 40 };

static const struct {
    const char *path, *heap, *lists, *faults, *step, *empty, *more, *not_recorded, *yes, *no, *message, *keys;
} words[] = {
    {"path", "heap", "lists", "page faults", "step", "(no chunk yet)", "more",
     "and %" PRIu64 " more, which were not recorded", "yes", "no", "printed", "n next, p back, q quit"},
    {"路径", "堆", "链表", "缺页", "步", "（还没有 chunk）", "其余", "另有 %" PRIu64 " 个事件没有记录", "有",
     "没有", "输出", "n 下一步，p 上一步，q 退出"},
};

static const char *state_letter(unsigned state)
{
    static const char *const letters[] = {"#", "b", "u", "f", "c", "i", "T", "|", "M", "!", "?"};
    return letters[state];
}

/* Segments whose chunks belong on one line. */
static bool holds_chunks(const struct segment *s)
{
    return s->is.kind == QUARRY_SEGMENT_BREAK || s->is.kind == QUARRY_SEGMENT_SUBHEAP ||
           s->is.kind == QUARRY_SEGMENT_MAPPED;
}

static const char *segment_name(enum quarry_segment_kind kind)
{
    return kind == QUARRY_SEGMENT_BREAK ? "brk heap" : kind == QUARRY_SEGMENT_SUBHEAP ? "sub-heap" : "mmap";
}

static const struct chunk *chunk_before(const struct step *before, const struct chunk *c)
{
    const struct chunk *old = before ? model_chunk_at(&before->model, c->at) : NULL;
    return old && old->at == c->at ? old : NULL;
}

static bool changed(const struct step *before, const struct chunk *c)
{
    const struct chunk *old = chunk_before(before, c);
    return !old || old->size != c->size || old->state != c->state || old->tags != c->tags;
}

/* The segment in proportion, top at a tenth at most: it is mostly empty. */
static void print_bar(FILE *out, const struct model *m, const struct segment *s)
{
    uint64_t bytes = 0;
    bool has_top = false;
    for (size_t i = 0; i < m->chunk_count; i++) {
        const struct chunk *c = &m->chunks[i];
        if (c->at < s->is.from || c->at >= s->is.to)
            continue;
        if (c->state == STATE_TOP)
            has_top = true;
        else
            bytes += c->size;
    }
    if (!bytes)
        return;
    fputs("    [", out);
    uint64_t at = 0, column = 0;
    for (size_t i = 0; i < m->chunk_count; i++) {
        const struct chunk *c = &m->chunks[i];
        if (c->at < s->is.from || c->at >= s->is.to || c->state == STATE_TOP)
            continue;
        at += c->size;
        uint64_t to = at * BAR / bytes;
        for (uint64_t first = column; column < to; column++)
            fputs(column == first && c->state == STATE_IN_USE ? "|" : state_letter(c->state), out);
    }
    fputs(has_top ? "]TOP\n" : "]\n", out);
}

static void print_chunk(FILE *out, const struct play *play, size_t i, const struct chunk *c)
{
    const struct step *before = i ? &play->steps[i - 1] : NULL;
    const char *name = tell_name(play, i, c->at + 16);
    fprintf(out, "  %c 0x%" PRIx64 "  size 0x%06" PRIx64 " = %7" PRIu64 "  %c%c%c  %-9s %s",
            changed(before, c) ? '*' : ' ', (uint64_t)c->at, (uint64_t)(c->size | (c->tags & 7)),
            (uint64_t)c->size, c->tags & 4 ? 'A' : '-', c->tags & 2 ? 'M' : '-', c->tags & 1 ? 'P' : '-',
            state_names[c->state], name ? name : "");
    for (size_t k = 0; k < play->steps[i].written_over_count; k++)
        if (play->steps[i].written_over[k].at == c->at)
            fprintf(out, "  header is 0x%" PRIx64, play->steps[i].written_over[k].word);
    if (c->fd && c->state != STATE_MAPPED)
        fprintf(out, "  fd 0x%" PRIx64 " bk 0x%" PRIx64, c->fd, c->bk);
    fputc('\n', out);
}

static void print_heap(FILE *out, const struct play *play, size_t i, enum language in)
{
    const struct model *m = &play->steps[i].model;
    fprintf(out, "  %s\n", words[in].heap);
    size_t rows = 0, left_out = 0;
    for (size_t k = 0; k < m->segment_count; k++) {
        const struct segment *s = &m->segments[k];
        if (!holds_chunks(s))
            continue;
        fprintf(out, "   %s 0x%" PRIx64 " - 0x%" PRIx64 "\n", segment_name(s->is.kind), s->is.from, s->is.to);
        print_bar(out, m, s);
        for (size_t c = 0; c < m->chunk_count; c++) {
            const struct chunk *chunk = &m->chunks[c];
            if (chunk->at < s->is.from || chunk->at >= s->is.to)
                continue;
            if (rows < MOST_ROWS || changed(i ? &play->steps[i - 1] : NULL, chunk))
                print_chunk(out, play, i, chunk), rows++;
            else
                left_out++;
        }
    }
    for (size_t k = 0; k < m->run_count; k++)
        if (m->runs[k].state == RUN_OWNED)
            fprintf(out, "   run 0x%" PRIx64 ": cells of %u, %u fit\n", m->runs[k].is.at,
                    m->runs[k].is.stride, m->runs[k].is.cells),
                rows++;
    if (!rows)
        fprintf(out, "   %s\n", words[in].empty);
    if (left_out)
        fprintf(out, "   ... %zu %s\n", left_out, words[in].more);
}

static void print_block(FILE *out, const struct play *play, size_t i, uint64_t mem)
{
    const char *name = tell_name(play, i, mem);
    if (name)
        fprintf(out, " %s", name);
    else
        fprintf(out, " 0x%" PRIx64, mem);
}

static void print_lists(FILE *out, const struct play *play, size_t i, enum language in)
{
    static const char *const kinds[] = {"fast", "unsorted", "small", "large", "inbox"};
    const struct model *m = &play->steps[i].model;
    bool any = false;
    for (size_t k = 0; k < m->cache_count; k++) {
        const struct cache *c = &m->caches[k];
        for (size_t n = 0; n < c->stack_count; n++) {
            const struct stack *s = &c->stacks[n];
            if (!s->is.count)
                continue;
            fprintf(out, "%s    tcache %zu, %" PRIu64 ":", any ? "" : "  ", k, s->is.from);
            for (size_t b = s->is.count; b-- > 0;)
                print_block(out, play, i, s->blocks[b]);
            fprintf(out, "  (%zu/%" PRIu64 ")\n", s->is.count, s->is.limit);
            any = true;
        }
    }
    for (size_t k = 0; k < m->list_count; k++) {
        const struct list *l = &m->lists[k];
        if (!l->count || l->is.kind > QUARRY_LIST_INBOX)
            continue;
        fprintf(out, "    %s bin %u, arena %u", kinds[l->is.kind], l->is.index, l->is.arena);
        if (l->is.kind != QUARRY_LIST_UNSORTED && l->is.kind != QUARRY_LIST_INBOX)
            fprintf(out, l->is.from == l->is.to ? ", %" PRIu64 : ", %" PRIu64 "...", l->is.from);
        fputc(':', out);
        for (size_t b = 0; b < l->count; b++)
            print_block(out, play, i, l->members[b] + 16);
        fputc('\n', out);
    }
    (void)in;
}

static void print_path(FILE *out, const struct play *play, size_t i, enum language in)
{
    const struct step *s = &play->steps[i];
    if (s->event_count)
        fprintf(out, "  %s\n", words[in].path);
    for (size_t k = 0; k < s->event_count; k++) {
        const struct qy_probe_event *e = &s->events[k];
        bool asked = e->did == QY_DID_ASKED;
        fprintf(out, "   %2zu %-14s %s%s%s\n", k + 1, tell_store(e), tell_event(play, i, k, in).text,
                asked ? " -> " : "",
                !asked              ? ""
                : tell_answer(s, k) ? words[in].yes
                                    : words[in].no);
    }
    if (s->events_left_out) {
        fputs("      ", out);
        fprintf(out, words[in].not_recorded, s->events_left_out);
        fputc('\n', out);
    }
}

static void print_step(FILE *out, const struct play *play, size_t i, enum language in)
{
    const struct step *s = &play->steps[i];
    const struct statement *said = s->statement;
    const char *sentence = in == CHINESE && said->zh ? said->zh : said->en ? said->en : said->zh;
    fprintf(out, "%s %zu/%zu  [%u] ", words[in].step, i + 1, play->count, said->line);
    if (said->thread > 1)
        fprintf(out, "thread %u: ", said->thread);
    fprintf(out, "%s\n", said->text);
    if (sentence)
        fprintf(out, "  %s\n", sentence);
    print_path(out, play, i, in);
    struct sentence result = tell_result(play, i, in);
    if (*result.text)
        fprintf(out, "  => %s\n", result.text);
    if (s->message)
        fprintf(out, "  %s: %s\n", words[in].message, s->message);
    if (s->fault_count) {
        fprintf(out, "  %s: %zu (", words[in].faults, s->fault_count);
        for (size_t k = 0; k < s->fault_count && k < 4; k++)
            fprintf(out, "%s0x%" PRIx64, k ? " " : "", s->faults[k]);
        fprintf(out, "%s)\n", s->fault_count > 4 ? " ..." : "");
    }
    print_heap(out, play, i, in);
    print_lists(out, play, i, in);
}

/* ---- keys ---- */

/* How the terminal was before a key was read without its Enter: so it is given back, also to who ends or stops us. */
static struct termios terminal_was;

static void give_back_terminal(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_was); /* output may stand still (^S): it is not waited for */
    tcflush(STDIN_FILENO, TCIFLUSH);
}

static void take_terminal(void);

static void end_by(int signal)
{
    if (tcgetpgrp(STDIN_FILENO) == getpgrp()) /* else it is another's, and was given back */
        give_back_terminal();
    raise(signal);   /* its handler is gone */
    take_terminal(); /* it was a stop, and is over */
}

static void take_terminal(void)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP};
    const struct sigaction ends = {.sa_handler = end_by, .sa_flags = SA_RESETHAND | SA_NODEFER | SA_RESTART};
    struct sigaction is;
    tcgetattr(STDIN_FILENO, &terminal_was);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], NULL, &is) == 0 && is.sa_handler != SIG_IGN)
            sigaction(signals[i], &ends, NULL);
    struct termios raw = terminal_was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
}

/* 0: none that means something, or we were stopped: in both cases the step is shown again. */
static int key(const sigset_t *blocked)
{
    unsigned char bytes[8];
    if (ppoll(&(struct pollfd){STDIN_FILENO, POLLIN, 0}, 1, NULL, blocked) < 0)
        return 0;
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0)
        return 'q';
    if (n >= 3 && bytes[0] == '\033' && bytes[1] == '[')
        return bytes[2] == 'C' || bytes[2] == 'B' ? 'n' : bytes[2] == 'D' || bytes[2] == 'A' ? 'p' : 0;
    return bytes[0];
}

static void step_through(const struct play *play, enum language in)
{
    sigset_t stop, blocked;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigprocmask(SIG_BLOCK, &stop,
                &blocked); /* it waits for key(), which then knows that there is a step to show */
    take_terminal();
    bool is_first = true;
    for (size_t i = 0, quit = 0; !quit;) {
        output_clear(is_first);
        is_first = false;
        print_step(stdout, play, i, in);
        printf("\n%s ", words[in].keys);
        fflush(stdout);
        switch (key(&blocked)) {
        case 'n':
        case ' ':
        case '\n':
            i += i + 1 < play->count;
            break;
        case 'p':
            i -= i > 0;
            break;
        case 'q':
        case 4: /* end of file */
            quit = 1;
        }
    }
    give_back_terminal();
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    putchar('\n');
}

int play_text(const struct play *play, enum language in)
{
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        step_through(play, in);
        return EXIT_FINE;
    }
    for (size_t i = 0; i < play->count; i++) {
        print_step(stdout, play, i, in);
        putchar('\n');
    }
    return print_text("");
}
