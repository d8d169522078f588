/* quarry map: a heap as a web page of its own. Owns: the options. */
#include "capture.h"
#include "command.h"
#include "options.h"
#include "output.h"
#include "page.h"
#include "snapshot_json.h"

static const char help[] =
    "usage: quarry map [OPTIONS] -o FILE PID|CORE|SNAPSHOT\n"
    "\n"
    "Writes a picture of the heap as one web page, to be opened in any browser: every\n"
    "chunk, run and cell to scale, each to be clicked. It needs no network.\n"
    "\n"
    "  -o FILE    where to; - is standard output\n"
    "  --whole    as `quarry snapshot --whole`\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0; 1 the target cannot be looked at; 2 wrong usage; 125 the page\n"
    "cannot be written.\n";

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
    struct capture_options look = {.smaps = true};
    const char *file = NULL;
    const struct option options[] = {
        {"-o", .value = &file, .needs = "a file"},
        {"--whole", .flag = &look.whole},
        {0},
    };
    int status = options_read(OPTIONS_ANYWHERE, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    if (argc > 2)
        return complain(EXIT_USAGE, "map: one target, not '%s' and '%s'", argv[1], argv[2]);
    if (argc < 2 || !file)
        return complain(EXIT_USAGE, "map: a target and -o FILE, please; see `quarry map --help`");
    struct model m;
    status = capture("map", argv[1], &look, &m);
    if (status == EXIT_FINE)
        status = output_write("map", file, write_map, &m);
    model_free(&m);
    return status;
}
