/*
 * quarry run: starts a program with libquarry preloaded.
 *
 * Owns: the options, the environment of the program. It execs, so exit status and signals are the program's own.
 * May not know: how a program is found and judged (program.c).
 */
#include "command.h"
#include "files.h"
#include "memory.h"
#include "options.h"
#include "program.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: quarry run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
    "\n"
    "Runs PROGRAM with Quarry as its malloc. The programs that it starts get Quarry\n"
    "too.\n"
    "\n"
    "  --classic  the classic profile: ptmalloc exactly, every constant and address\n"
    "  --conf KEY:VALUE[,KEY:VALUE]...\n"
    "             options, as in QUARRY_CONF; may be given more than once\n"
    "  --stats    statistics on stderr when the program ends\n"
    "  --anyway   run the program even where Quarry cannot be loaded into it\n"
    "  --help     this text\n"
    "\n"
    "A program that exports a malloc of its own uses that one: then a line on stderr\n"
    "says so. QUARRY_CONF of the environment comes first, then --classic and --stats,\n"
    "then --conf; the later wins.\n"
    "\n"
    "Exit status: the program's own; 2 wrong usage; 125 quarry itself failed; 126\n"
    "PROGRAM cannot be run, or Quarry cannot be loaded into it (static, set-uid,\n"
    "another architecture or libc, some sanitizers); 127 no such PROGRAM.\n";

struct settings {
    bool classic, stats, anyway;
    const char *conf; /* all --conf, joined */
    char **program;
};

/* ---- the library ---- */

static int find_library(char path[PATH_MAX])
{
    if (!files_find(FILES_LIB, "libquarry.so.1", path))
        return complain(EXIT_OURSELVES, "run: libquarry.so.1, in ../lib seen from this command: %s",
                        strerror(errno));
    if (strpbrk(path, " :"))
        return complain(EXIT_OURSELVES, "run: %s: LD_PRELOAD cannot hold a path with a space or a colon",
                        path);
    return EXIT_FINE;
}

/* ---- running ---- */

static void set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        exit(complain(EXIT_OURSELVES, "run: %s", strerror(errno)));
}

static void set_environment(const struct settings *set, const char *library)
{
    set_variable("LD_PRELOAD", join_text(library, getenv("LD_PRELOAD"), ':'));
    char *conf = join_text(getenv("QUARRY_CONF"), set->classic ? "classic:true" : NULL, ',');
    conf = join_text(conf, set->stats ? "stats:true" : NULL, ',');
    conf = join_text(conf, set->conf, ',');
    if (*conf)
        set_variable("QUARRY_CONF", conf);
}

/* Says what is wrong with the program. EXIT_FINE: it may be run all the same. */
static int judge(const struct settings *set, const char *library, enum program_result *result)
{
    const char *name = set->program[0];
    char why[PATH_MAX + 256];
    *result = program_examine(name, library, why, sizeof why);
    switch (*result) {
    case PROGRAM_FINE:
        return EXIT_FINE;
    case PROGRAM_OWN_MALLOC:
        return complain(EXIT_FINE, "run: %s: %s", name, why);
    case PROGRAM_NOT_FOUND:
        return complain(EXIT_NOT_FOUND, "run: %s: %s", name, why);
    case PROGRAM_CANNOT_RUN:
        return complain(EXIT_CANNOT_RUN, "run: %s: %s", name, why);
    default:
        break;
    }
    if (set->anyway) {
        complain(0, "run: %s: %s; it runs without Quarry", name, why);
        return EXIT_FINE;
    }
    return complain(EXIT_CANNOT_RUN, "run: %s: %s (--anyway runs it without Quarry)", name, why);
}

int run_main(int argc, char **argv)
{
    struct settings set = {0};
    const struct option options[] = {
        {"--classic", .flag = &set.classic},
        {"--conf", .value = &set.conf, .needs = "KEY:VALUE", .joined = true},
        {"--stats", .flag = &set.stats},
        {"--anyway", .flag = &set.anyway},
        {0},
    };
    enum program_result result;
    char library[PATH_MAX];
    int status = options_read(OPTIONS_BEFORE_OPERANDS, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    if (argc < 2)
        return complain(EXIT_USAGE, "run: no program given; see `quarry run --help`");
    set.program = argv + 1;
    if ((status = find_library(library)) != EXIT_FINE)
        return status;
    if ((status = judge(&set, library, &result)) != EXIT_FINE)
        return status;
    if (result != PROGRAM_CHOKES)
        set_environment(&set, library);
    execvp(set.program[0], set.program);
    return complain(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "run: %s: %s", set.program[0],
                    strerror(errno));
}
