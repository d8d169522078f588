/*
 * The program under study, as a child process: start, one call, end. Owns: its pipes and its life.
 * May not know: scripts, heaps.
 */
#ifndef PLAY_HOST_H
#define PLAY_HOST_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include <quarry/probe.h>

#include "protocol.h"

struct host {
    int pid;                         /* of the process that carries calls out: after a fork, the child */
    int group;                       /* of all of them */
    int commands, replies, messages; /* our ends of the pipes */
    struct sigaction pipe_was;       /* writing to one that has ended is no reason to end */
};

struct answer {
    struct play_reply reply;
    struct qy_probe_event events[QY_PROBE_EVENTS];
    size_t event_count;
    char message[65536]; /* what it printed; as much as a pipe holds */
};

/* The first of the settings that the library does not take, and what it says to it. */
struct refusal {
    size_t setting;
    char *why; /* NULL: it takes all of them */
};

/*
 * `path`: play-host; `settings`: NAME=VALUE or key:value, over the profile. False after a line on stderr, or with a
 * refusal.
 */
bool host_start(struct host *host, const char *path, bool classic, char *const *settings,
                size_t setting_count, struct refusal *refusal);

/* False after a line on stderr: the host is gone. */
bool host_call(struct host *host, const struct play_command *command, struct answer *answer);

void host_end(struct host *host);

/* 8 bytes, or one, of its memory; false: cannot be read. */
bool host_read(const struct host *host, uint64_t address, void *to, size_t bytes);

#endif
