/* A model from a process, from a core file, or from a snapshot file. */
#ifndef QUARRY_CAPTURE_H
#define QUARRY_CAPTURE_H

#include "model.h"
#include "ration.h"

struct capture_options {
    bool whole; /* headers of all blocks too, however large the heap is */
    bool smaps; /* resident, swapped and huge bytes of each mapping */
};

/*
 * `target` is a PID, or a file: a core file or a snapshot. Returns an exit status, having complained when that is not
 * EXIT_FINE. `command` is the subcommand's name, for messages.
 */
int capture(const char *command, const char *target, const struct capture_options *options, struct model *m);

/* False: no later look can succeed, for the process has ended or there is no such file. */
bool capture_is_there(const char *target);

/* The parts behind it. */
int capture_process(const char *command, int pid, const struct capture_options *options, struct model *m);
const char *capture_process_gone(int pid); /* why there is none to be looked at; NULL: there is one */
int capture_core(const char *command, const char *path, int fd, struct model *m);

/* What of several copies of Quarry in a process to look at. */
struct search {
    struct ration ration;
    uint64_t layout; /* of the best so far; 0: there is none */
    enum { NEVER_USED, NOT_KNOWN, USABLE } worth;
    unsigned copies; /* that are worth a word */
};

/* Considers the descriptors that begin in the first `own` of the `bytes` that were copied from `address`. */
void capture_search(struct search *search, const void *memory, size_t bytes, size_t own, uint64_t address);

/* The walk, with the descriptor at `layout`; complains with what `target` is called. */
int capture_walk(const char *command, const char *target, struct ration *ration, uint64_t layout,
                 struct model *m);

/* Which cache each thread uses, by its thread pointer. */
void capture_join_threads(struct model *m, quarry_read *read, void *context);

#endif
