/*
 * The language of `quarry play` (docs/play.md): from text to a list of statements, each of them checked as far as that
 * can be done without running it. Repetitions are written out here, so what follows is a straight line. Owns: words,
 * syntax, names. May not know: what a call does.
 */
#ifndef PLAY_SCRIPT_H
#define PLAY_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

enum node_kind {
    NODE_NUMBER,
    NODE_VARIABLE,
    NODE_NAME,     /* something of the heap or of the last step: see player.c */
    NODE_FUNCTION, /* of one or two values */
    NODE_ADD,
    NODE_SUBTRACT,
    NODE_MULTIPLY,
    NODE_DIVIDE,
};

struct node {
    enum node_kind kind;
    uint64_t number;
    char *name;
    struct node *left, *right;
};

enum statement_kind {
    SAY_ONLY, /* `look`: a step without a call */
    CALL,
    RESTART, /* a fresh process */
    EXPECT,
};

enum expect_kind {
    EXPECT_COMPARE,
    EXPECT_STATE,   /* what became of a block */
    EXPECT_WHERE,   /* what kind of memory it lies in */
    EXPECT_LIST,    /* a bin or a stack, in order */
    EXPECT_COUNT,   /* chunks in a state */
    EXPECT_ORDER,   /* which stores were asked, in which order */
    EXPECT_PATH,    /* an event */
    EXPECT_CALLS,   /* system calls */
    EXPECT_MESSAGE, /* what was printed */
    EXPECT_ERROR,   /* errno */
    EXPECT_ABORT,
};

struct expectation {
    enum expect_kind kind;
    bool no;            /* `expect no …` */
    char comparison[3]; /* "==" */
    char **words;       /* names that stand for themselves */
    size_t word_count;
    struct node **values;
    size_t value_count;
};

struct statement {
    enum statement_kind kind;
    unsigned line, column; /* from 1 */
    unsigned thread;
    char *text;    /* as written, {i} filled in */
    char *en, *zh; /* said beside it; NULL: nothing */
    enum play_call call;
    const char *call_name;
    char *variable; /* what takes the result; NULL: nothing does */
    struct node *arguments[3];
    size_t argument_count;
    bool classic; /* RESTART */
    struct expectation expect;
};

struct script {
    char *path, *text;
    char *title, *title_zh;
    char **covers; /* M-nn, E-nn */
    size_t cover_count;
    bool classic;
    char **settings; /* NAME=VALUE for the environment; key:value for QUARRY_CONF */
    struct place {
        unsigned line, column; /* from 1 */
    } * setting_places;
    size_t setting_count;
    struct statement *statements;
    size_t count;
};

/* False after a line on stderr: FILE:LINE:COLUMN: what was expected. */
bool script_read(const char *path, const char *text, struct script *script);

#endif
