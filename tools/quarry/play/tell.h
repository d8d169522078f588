/*
 * Says in words what the allocator did: one sentence an event, in English and Chinese. Owns: the sentences. What is
 * shown in a page or a terminal comes from here, so both say the same.
 */
#ifndef PLAY_TELL_H
#define PLAY_TELL_H

#include "player.h"

enum language { ENGLISH, CHINESE };

struct sentence {
    char text[400];
};

/* An event of a step. */
struct sentence tell_event(const struct play *play, size_t step, size_t event, enum language in);

/* What the call returned, or how it ended. */
struct sentence tell_result(const struct play *play, size_t step, enum language in);

const char *tell_store(const struct qy_probe_event *event);
const char *tell_did(const struct qy_probe_event *event);

/* Whether the store that was asked had something; only of events that ask. */
bool tell_answer(const struct step *step, size_t event);

/* The variable that holds this block after a step, or NULL. */
const char *tell_name(const struct play *play, size_t step, uint64_t address);

#endif
