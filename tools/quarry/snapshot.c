/* quarry snapshot: a heap as a file. Owns: the options. */
#include "capture.h"
#include "command.h"
#include "output.h"
#include "snapshot_file.h"
#include "snapshot_json.h"

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

static int write_json(FILE *out, const void *model)
{
    static struct json j;
    json_start(&j, out, false);
    snapshot_json(&j, model);
    json_end(&j);
    return EXIT_FINE;
}

static int write_packed(FILE *out, const void *model)
{
    if (!snapshot_write(model, out) && !ferror(out))
        return complain(EXIT_OURSELVES, "snapshot: no memory to compress with");
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
        status =
            output_write("snapshot", set.file ? set.file : "-", set.json ? write_json : write_packed, &m);
    model_free(&m);
    return status;
}
