/*
 * One line of a script, read from left to right. Owns: words, values, and where in the file a complaint points. What a
 * function takes is read and stepped over; what it gives is the caller's.
 */
#ifndef PLAY_READER_H
#define PLAY_READER_H

#include "script.h"

struct reader {
    struct script *script;
    const char *line; /* its beginning */
    const char *at;
    const char *end;
    unsigned number;    /* of the line */
    unsigned repeated;  /* {i}; 0: not in a repetition */
    unsigned depth;     /* of terms within terms */
    unsigned operators; /* of this line: each makes the tree deeper */
    bool failed;
};

/* Complains about what is at `at`, once a line. */
void reader_fail(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reader_expected(struct reader *r, const char *what);

void reader_skip_blanks(struct reader *r);
bool reader_at_end(struct reader *r);
int reader_word_length(struct reader *r); /* up to the next blank, for "not '…'" */

bool take_char(struct reader *r, char c);
bool take_this(struct reader *r, const char *word);
char *take_word(struct reader *r, bool hyphens); /* letters, digits, '_' and {i}; NULL: there is none */
char *take_rest(struct reader *r);               /* of the line, without the blanks at its ends */
char *copy_range(const char *from, const char *to);

struct node *take_value(struct reader *r);
struct node *number_node(uint64_t number);

/* calls.c and expectations.c: what is left of a statement. */
void take_call(struct reader *r, struct statement *s);
void take_expectation(struct reader *r, struct statement *s);

#endif
