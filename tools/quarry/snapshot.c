/* quarry snapshot: a heap as a file. Owns: the options. */
#include "capture.h"
#include "command.h"
#include "snapshot_file.h"
#include "snapshot_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: quarry snapshot [OPTIONS] PID|CORE|SNAPSHOT\n"
    "\n"
    "Writes down the heap of a process, of a core file, or of an earlier snapshot. The process is stopped for the\n"
    "milliseconds that copying takes, and runs none of our code.\n"
    "\n"
    "  -o FILE    where to; - or nothing is standard output\n"
    "  --json     as JSON (docs/formats.md); otherwise compressed and for quarry alone\n"
    "  --whole    copy the headers of all blocks, however large the heap is: damage is seen, the stop is longer\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0; 1 the target cannot be looked at; 2 wrong usage; 125 the file cannot be written.\n";

struct settings {
    const char *file, *target;
    bool json, help;
    struct capture_options capture;
};

static int read_options(int argc, char **argv, struct settings *set)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            set->help = true;
            return EXIT_FINE;
        } else if (strcmp(word, "--json") == 0) {
            set->json = true;
        } else if (strcmp(word, "--whole") == 0) {
            set->capture.whole = true;
        } else if (strcmp(word, "-o") == 0) {
            if (i + 1 == argc)
                return complain(EXIT_USAGE, "snapshot: -o needs a file");
            set->file = argv[++i];
        } else if (word[0] == '-' && word[1]) {
            return complain(EXIT_USAGE, "snapshot: unknown option '%s'; see `quarry snapshot --help`", word);
        } else if (set->target) {
            return complain(EXIT_USAGE, "snapshot: one target, not '%s' and '%s'", set->target, word);
        } else {
            set->target = word;
        }
    }
    if (!set->target)
        return complain(EXIT_USAGE, "snapshot: no target given; see `quarry snapshot --help`");
    return EXIT_FINE;
}

static bool write_model(const struct settings *set, const struct model *m, FILE *out)
{
    static struct json j;
    if (!set->json)
        return snapshot_write(m, out);
    json_start(&j, out, false);
    snapshot_json(&j, m);
    return json_end(&j);
}

static int save(const struct settings *set, const struct model *m)
{
    bool to_stdout = !set->file || strcmp(set->file, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(set->file, "we");
    if (!out)
        return complain(EXIT_OURSELVES, "snapshot: %s: %s", set->file, strerror(errno));
    bool written = write_model(set, m, out);
    if (!to_stdout && fclose(out) != 0)
        written = false;
    if (!written)
        return complain(EXIT_OURSELVES, "snapshot: cannot write %s: %s",
                        to_stdout ? "standard output" : set->file, strerror(errno));
    return EXIT_FINE;
}

int snapshot_main(int argc, char **argv)
{
    struct settings set = {.capture.smaps = true};
    int status = read_options(argc, argv, &set);
    if (status != EXIT_FINE)
        return status;
    if (set.help)
        return print_text(help);
    struct model m;
    status = capture("snapshot", set.target, &set.capture, &m);
    if (status == EXIT_FINE)
        status = save(&set, &m);
    model_free(&m);
    return status;
}
