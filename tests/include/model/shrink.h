/*
 * shrink: finds a short part of a failing list of operations that still fails, by leaving parts out (Zeller
 * and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), each try in a forked child, and
 * prints it.
 */
#ifndef MODEL_SHRINK_H
#define MODEL_SHRINK_H

#include "run.h"

struct op_list {
    struct op *ops;
    size_t count;
};

/* One try: a fresh process of the same past; `steps` is shared memory. Returns the wait status, 0 if all is
   well. */
static inline int shrink_try(struct model *m, const struct op_list *list, uint64_t *steps, bool quiet,
                             unsigned limit_s)
{
    int status;
    *steps = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        m->quiet = quiet;
        if (quiet)
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
        alarm(limit_s);
        model_open(m, steps);
        for (size_t i = 0; i < list->count; i++)
            model_step(m, &list->ops[i]);
        model_give_all(m);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    return status;
}

/* Drops what follows the operation that failed, and every part whose absence does not help, ever smaller
   parts. */
static inline void shrink(struct model *m, struct op_list *list, uint64_t *steps, double seconds)
{
    double end = qt_seconds() + seconds;
    struct op_list candidate = {heap_private(list->count * sizeof *list->ops), 0};
    if (*steps < list->count)
        list->count = *steps;
    for (size_t part = (list->count + 1) / 2; part && qt_seconds() < end;) {
        bool shorter = false;
        for (size_t from = 0; from < list->count && qt_seconds() < end;) {
            size_t cut = list->count - from < part ? list->count - from : part;
            memcpy(candidate.ops, list->ops, from * sizeof *list->ops);
            memcpy(candidate.ops + from, list->ops + from + cut,
                   (list->count - from - cut) * sizeof *list->ops);
            candidate.count = list->count - cut;
            if (shrink_try(m, &candidate, steps, true, 20)) {
                list->count = *steps < candidate.count ? *steps : candidate.count;
                memcpy(list->ops, candidate.ops, list->count * sizeof *list->ops);
                shorter = true;
            } else {
                from += cut;
            }
        }
        if (part == 1 && !shorter)
            break;
        part = part == 1 ? 1 : (part + 1) / 2;
    }
}

/* The list as C; slots are renumbered from 0. */
static inline void shrink_print(const struct op_list *list)
{
    static int number[SLOTS_MAX];
    static bool full[SLOTS_MAX];
    int used = 0;
    char line[256];
    memset(number, -1, sizeof number);
    qt_say(
        "    /* after each allocation the block is filled to its usable size, before each free verified */\n");
    for (size_t i = 0; i < list->count; i++) {
        struct op o = list->ops[i];
        if (number[o.slot] < 0)
            number[o.slot] = used++;
        o.slot = (uint16_t)number[o.slot];
        op_print(&o, full[o.slot], line, sizeof line);
        qt_say("    %s\n", line);
        full[o.slot] = o.kind <= OP_PVALLOC || o.kind == OP_REALLOC || o.kind == OP_REALLOCARRAY ||
                       (full[o.slot] && !(o.kind >= OP_FREE && o.kind <= OP_REALLOC_ZERO));
    }
    qt_say("    /* every block is verified and freed */\n");
}

#endif
