/*
 * JSON, written as it comes: no tree in memory, so a million chunks cost no more than their text. Owns: commas,
 * escapes, numbers. The caller opens and closes.
 */
#ifndef QUARRY_JSON_H
#define QUARRY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool in_html; /* '<' becomes \u003c, so that no string can end the element */
    bool comma;   /* before the next value */
    size_t used;
    char buffer[65536];
};

void json_start(struct json *j, FILE *out, bool in_html);
void json_end(struct json *j); /* whether `out` took it all is to be asked of `out` */

void json_open(struct json *j, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);
void json_key(struct json *j, const char *name);
void json_text(struct json *j, const char *text); /* NULL is null */
void json_signed(struct json *j, int64_t n);
void json_number(struct json *j, uint64_t n); /* beyond 2^53, where readers round: a text, "0x..." */
void json_bool(struct json *j, bool b);
void json_null(struct json *j);
void json_base64(struct json *j, const void *bytes, size_t count);
void json_line(struct json *j); /* for the eye */

/* One member of an object. */
void json_member_text(struct json *j, const char *name, const char *text);
void json_member_number(struct json *j, const char *name, uint64_t n);
void json_member_bool(struct json *j, const char *name, bool b);

#endif
