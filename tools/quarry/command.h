/*
 * The `quarry` command: what its parts share.
 *
 * Each subcommand is one row of the table in main.c and one file named after it. A subcommand gets its own
 * arguments (argv[0] is its name) and returns the exit status.
 */
#ifndef QUARRY_COMMAND_H
#define QUARRY_COMMAND_H

/* Exit statuses: as env(1) where a program is to be run. */
enum {
    EXIT_FINE = 0,
    EXIT_FINDING = 1,
    EXIT_USAGE = 2,
    EXIT_OURSELVES = 125, /* the command itself failed */
    EXIT_CANNOT_RUN = 126,
    EXIT_NOT_FOUND = 127,
};

struct command {
    const char *name;
    const char *summary; /* one line for `quarry --help` */
    int (*main)(int argc, char **argv);
};

int run_main(int argc, char **argv);
int play_main(int argc, char **argv);
int snapshot_main(int argc, char **argv);
int stat_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int map_main(int argc, char **argv);

/* Prints "quarry: " and the text and a newline to stderr, and returns `status`. */
int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints to stdout and returns EXIT_FINE, or complains when stdout did not take it, or something before it. */
int print_text(const char *text);

#endif
