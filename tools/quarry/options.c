#include "options.h"

#include "command.h"
#include "memory.h"

#include <string.h>

/* The option that `word` is, and the value that stands in the same word, or NULL. */
static const struct option *find(const struct option *options, const char *word, const char **value)
{
    for (const struct option *o = options; o->name; o++) {
        size_t length = strlen(o->name);
        if (strncmp(word, o->name, length) != 0)
            continue;
        const char *rest = word + length;
        bool is_long = o->name[1] == '-';
        *value = *rest ? rest + is_long : NULL;
        if (!*rest || (o->value && (!is_long || *rest == '=')))
            return o;
    }
    return NULL;
}

/* The option that made a choice already; NULL: none did. */
static const struct option *find_chosen(const struct option *options, const int *choice)
{
    for (const struct option *o = options; o->name; o++)
        if (o->choice == choice && o->chosen == *choice)
            return o;
    return NULL;
}

/* argv[*i], and the word behind it when that is its value. */
static int read_option(char **argv, int *i, const char *help, const struct option *options)
{
    const char *command = argv[0], *word = argv[*i], *value;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return print_text(help);
    const struct option *o = find(options, word, &value);
    if (!o)
        return complain(EXIT_USAGE, "%s: unknown option '%s'; see `quarry %s --help`", command, word,
                        command);
    if (o->needs && !value && !(value = argv[++*i]))
        return complain(EXIT_USAGE, "%s: %s needs %s", command, word, o->needs);
    if (o->flag)
        *o->flag = true;
    if (o->choice) {
        const struct option *other = find_chosen(options, o->choice);
        if (other && other != o)
            return complain(EXIT_USAGE, "%s: %s or %s, not both", command, other->name, o->name);
        *o->choice = o->chosen;
    }
    if (o->value)
        *o->value = o->joined ? join_text(*o->value, value, ',') : value;
    return GO_ON;
}

int options_read(enum option_place place, int *argc, char **argv, const char *help,
                 const struct option *options)
{
    int i = 1, operands = 1;
    for (; i < *argc; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (place == OPTIONS_BEFORE_OPERANDS)
                break;
            argv[operands++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else {
            int status = read_option(argv, &i, help, options);
            if (status != GO_ON)
                return status;
        }
    }
    while (i < *argc)
        argv[operands++] = argv[i++];
    argv[operands] = NULL;
    *argc = operands;
    return GO_ON;
}
