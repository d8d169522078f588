/*
 * Runs a script on the allocator, one statement after another, and keeps what was seen. Owns: variables, the steps,
 * what expectations compare. May not know: how steps are shown.
 */
#ifndef PLAY_PLAYER_H
#define PLAY_PLAYER_H

#include "host.h"
#include "model.h"
#include "script.h"

struct step {
    const struct statement *statement;
    uint64_t arguments[3];
    struct play_reply reply;
    struct qy_probe_event *events;
    size_t event_count;
    uint64_t events_left_out; /* there were so many more */
    uint64_t *faults;         /* pages of the heap that became resident */
    size_t fault_count;
    char *message; /* NULL: nothing was printed */
    struct written_over {
        uint64_t at, word;
    } * written_over; /* headers that are not what the allocator wrote */
    size_t written_over_count;
    struct model model;
    bool classic;
};

struct play {
    const struct script *script;
    struct step *steps;
    size_t count;
    unsigned checked; /* expectations that held */
};

enum play_result { PLAY_FINE, PLAY_FALSE, PLAY_REFUSED, PLAY_BROKEN };

/* `host`: path of play-host. Everything but PLAY_FINE: after lines on stderr. */
enum play_result play_run(const struct script *script, const char *host, struct play *play);

/* The page of an address in a model: 0 not resident, 1 resident, 2 swapped, 3 huge; -1: no memory of the heap. */
int play_page_state(const struct model *m, uint64_t address);

#endif
