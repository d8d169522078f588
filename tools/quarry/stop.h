/*
 * Stopping a process for the moment that a look takes. Owns: ptrace. Whatever happens, the process runs on: it does so
 * by itself when we end.
 */
#ifndef QUARRY_STOP_H
#define QUARRY_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stopped_thread {
    int tid;
    int signal; /* to be delivered when it goes on */
    bool stands, gone;
    bool halted;          /* by job control: it would stand without us, too */
    uint64_t pointer, pc; /* registers; 0: not known */
};

struct stop {
    int pid;
    struct stopped_thread *threads;
    size_t count;
    uint64_t from_us; /* when the first of them stood */
    bool begun;       /* it does */
    bool straggles;   /* one that was let run does not stand yet */
    bool foreign;     /* it stood already: a debugger, or job control; nothing was done to it */
    int nice;         /* ours, before */
};

/* NULL: all its threads stand. Else why not, as the end of a sentence, and nothing stands. */
const char *stop_process(int pid, struct stop *stop);

/*
 * Lets each thread that `is_inside` something run on, moment by moment, while the others stand, until none is: then
 * `settled`. The list may grow meanwhile. Given up after some milliseconds, when one may not even stand:
 * stop->straggles. Returns as stop_process does.
 */
const char *stop_settle(struct stop *stop,
                        bool (*is_inside)(const void *context, const struct stopped_thread *thread),
                        const void *context, bool *settled);

/* Lets it go on; returns the microseconds it stood. The list of threads stays, until stop_free. */
uint64_t stop_end(struct stop *stop);
void stop_free(struct stop *stop);

/*
 * 'R', 'S', 'T' (stopped), 't' (by a debugger) and so on; 'Z': ended, and not asked for; 'X': about to end; 0: gone;
 * '?': errno says why it cannot be told.
 */
char thread_state(int pid, int tid);

uint64_t clock_us(void);

#endif
