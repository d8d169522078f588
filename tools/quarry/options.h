/*
 * The options of a subcommand, read by a table of them. Owns: --help, "--", and what is said of a wrong option. May not
 * know: what an option means, and which operands there have to be.
 */
#ifndef QUARRY_OPTIONS_H
#define QUARRY_OPTIONS_H

#include <stdbool.h>

/*
 * A row of the table; the last has no name. Members that an option does not use are left out. Given twice, the later
 * wins. A choice is at first what no option chooses.
 */
struct option {
    const char *name; /* "-o" or "--json" */
    bool *flag;       /* becomes true */
    int *choice;      /* becomes `chosen`; options that share it exclude each other */
    int chosen;
    const char **value; /* "-o VALUE", "-oVALUE", "--name VALUE", "--name=VALUE" */
    const char *needs;  /* what the value is, for who forgets it; NULL: it may be missing, and is NULL then */
    bool joined;        /* several values are joined by commas */
};

enum option_place { OPTIONS_ANYWHERE, OPTIONS_BEFORE_OPERANDS };

enum { GO_ON = -1 }; /* no exit status */

/*
 * Takes the options out of argv, up to "--". What is left, argv[1] to argv[*argc - 1] and NULL, are the operands.
 * Returns GO_ON, or the exit status with which the command ends: --help was printed, or an option is wrong.
 */
int options_read(enum option_place place, int *argc, char **argv, const char *help,
                 const struct option *options);

#endif
