/* quarry map: a heap as a web page of its own. Owns: the options. */
#include "capture.h"
#include "command.h"
#include "output.h"
#include "page.h"
#include "snapshot_json.h"

#include <string.h>

static const char help[] =
    "usage: quarry map [OPTIONS] -o FILE PID|CORE|SNAPSHOT\n"
    "\n"
    "Writes a picture of the heap as one web page, to be opened in any browser: every chunk, run and cell to scale, each\n"
    "to be clicked. It needs no network.\n"
    "\n"
    "  -o FILE    where to; - is standard output\n"
    "  --whole    as `quarry snapshot --whole`\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0; 1 the target cannot be looked at; 2 wrong usage; 125 the page cannot be written.\n";

struct settings {
    const char *file, *target;
    bool help;
    struct capture_options capture;
};

static int read_options(int argc, char **argv, struct settings *set)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            set->help = true;
            return EXIT_FINE;
        } else if (strcmp(word, "--whole") == 0) {
            set->capture.whole = true;
        } else if (strcmp(word, "-o") == 0) {
            if (i + 1 == argc)
                return complain(EXIT_USAGE, "map: -o needs a file");
            set->file = argv[++i];
        } else if (word[0] == '-' && word[1]) {
            return complain(EXIT_USAGE, "map: unknown option '%s'; see `quarry map --help`", word);
        } else if (set->target) {
            return complain(EXIT_USAGE, "map: one target, not '%s' and '%s'", set->target, word);
        } else {
            set->target = word;
        }
    }
    if (!set->target || !set->file)
        return complain(EXIT_USAGE, "map: a target and -o FILE, please; see `quarry map --help`");
    return EXIT_FINE;
}

static void fill(struct json *json, const void *model)
{
    snapshot_json(json, model);
}

static int write_map(FILE *out, const void *model)
{
    return page_write("map", "viewer", "@SNAPSHOT@", out, fill, model);
}

int map_main(int argc, char **argv)
{
    struct settings set = {.capture.smaps = true};
    int status = read_options(argc, argv, &set);
    if (status != EXIT_FINE)
        return status;
    if (set.help)
        return print_text(help);
    struct model m;
    status = capture("map", set.target, &set.capture, &m);
    if (status == EXIT_FINE)
        status = output_write("map", set.file, write_map, &m);
    model_free(&m);
    return status;
}
