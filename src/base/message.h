/*
 * Messages without formatting, locale or memory: a line is put together in a buffer on the stack and goes out
 * in one write(2). Used for diagnostics, statistics and the last words of a process.
 */
#ifndef QY_BASE_MESSAGE_H
#define QY_BASE_MESSAGE_H

#include "base/compiler.h"

struct qy_text {
    size_t length;
    char bytes[1000]; /* what does not fit is cut off */
};

void qy_text_add(struct qy_text *text, const char *string);
void qy_text_add_bytes(struct qy_text *text, const char *bytes, size_t count);
void qy_text_add_hex(struct qy_text *text, uintptr_t value);
void qy_text_add_decimal(struct qy_text *text, uint64_t value);

/* Writes the text to stderr and empties it; errno is kept. */
void qy_text_say(struct qy_text *text);

/*
 * The program broke its heap. One line, `quarry: CHECK: 0xADDRESS: DETAIL`, then abort().
 * `check` is one of the fixed names of docs/messages.md; tests compare the line verbatim.
 */
void qy_fatal(const char *check, const void *address, const char *detail) __attribute__((noreturn, cold));

#define QY_DOUBLE_FREE "double free"
#define QY_INVALID_POINTER "invalid pointer"
#define QY_CORRUPTED_HEADER "corrupted header"
#define QY_CORRUPTED_LIST "corrupted list"
#define QY_CORRUPTED_TOP "corrupted top"
#define QY_WRITE_AFTER_FREE "write after free"

#endif
