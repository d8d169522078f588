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

/* The walk, with the descriptor at `layout`; complains with what `target` is called. */
int capture_walk(const char *command, const char *target, struct ration *ration, uint64_t layout,
                 struct model *m);

/* Which cache each thread uses, by its thread pointer. */
void capture_join_threads(struct model *m, quarry_read *read, void *context);

#endif
