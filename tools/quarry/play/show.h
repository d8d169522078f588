/* The two ways to look at a play. */
#ifndef PLAY_SHOW_H
#define PLAY_SHOW_H

#include "json.h"
#include "tell.h"

/* The object of docs/formats.md. */
void play_json(struct json *j, const struct play *play, const char *lesson);

/* One step after another; with a terminal on both ends, n, p and q step through them. */
int play_text(const struct play *play, enum language in);

#endif
