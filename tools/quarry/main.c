/* The table of subcommands. Owns: --help, --version, and who is called. May not know: what they do. */
#include "command.h"
#include "words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command commands[] = {
    {"run", "run a program with Quarry as its malloc", run_main},
    {"stat", "where the memory of a process is, on one screen", stat_main},
    {"explain", "everything known of one address", explain_main},
    {"map", "a picture of the heap, as a web page", map_main},
    {"snapshot", "write down the heap of a process or a core file", snapshot_main},
    {"play", "how malloc works: a script on the real allocator, step by step", play_main},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

int complain(int status, const char *format, ...)
{
    va_list args;
    char *said = NULL;
    va_start(args, format);
    bool is_complete = vasprintf(&said, format, args) >= 0;
    va_end(args);
    fputs("quarry: ", stderr);
    words_print_plain(stderr, is_complete ? said : format, "\n\t");
    fputc('\n', stderr);
    if (is_complete)
        free(said);
    return status;
}

int print_text(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) == EOF || ferror(stdout))
        return complain(EXIT_OURSELVES, "cannot write: %s", strerror(errno));
    return EXIT_FINE;
}

static void print_usage(FILE *out)
{
    fputs("usage: quarry COMMAND [ARGUMENTS]\n\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    fputs("\n`quarry help COMMAND` says more of one. `quarry --version` prints the version.\n", out);
}

static int run_command(int argc, char **argv)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].main(argc, argv);
    return complain(EXIT_USAGE, "unknown %s '%s'; see `quarry --help`",
                    argv[0][0] == '-' ? "option" : "command", argv[0]);
}

static bool is_one_of(const char *word, const char *one, const char *other)
{
    return strcmp(word, one) == 0 || strcmp(word, other) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (argc == 3 && strcmp(word, "help") == 0 && strcmp(argv[2], "help") != 0)
        return run_command(2, (char *[]){argv[2], "--help", NULL});
    bool help = is_one_of(word, "--help", "-h") || strcmp(word, "help") == 0;
    bool version = is_one_of(word, "--version", "-V");
    if (!help && !version)
        return run_command(argc - 1, argv + 1);
    if (argc > 2 && !(argc == 3 && strcmp(word, "help") == 0))
        return complain(EXIT_USAGE, "'%s' after '%s' is too much; see `quarry --help`", argv[argc - 1], word);
    if (help)
        print_usage(stdout);
    return print_text(help ? "" : "quarry " QUARRY_VERSION "\n");
}
