/* quarry snapshot: a heap as a file. Owns: the options. */
#include "capture.h"
#include "command.h"
#include "options.h"
#include "output.h"
#include "snapshot_file.h"
#include "snapshot_json.h"

#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: quarry snapshot [OPTIONS] PID|CORE|SNAPSHOT\n"
    "\n"
    "Writes down the heap of a process, of a core file, or of an earlier snapshot.\n"
    "The process is stopped for the milliseconds that copying takes, and runs none of\n"
    "our code.\n"
    "\n"
    "  -o FILE    where to; - or nothing is standard output, if that is no terminal\n"
    "  --json     as JSON (docs/formats.md); otherwise compressed, for quarry alone\n"
    "  --whole    copy the headers of all blocks, however large the heap is: damage\n"
    "             is seen, the stop is longer\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0; 1 the target cannot be looked at; 2 wrong usage; 125 the file\n"
    "cannot be written.\n";

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
    struct capture_options look = {.smaps = true};
    const char *file = "-";
    bool json = false;
    const struct option options[] = {
        {"-o", .value = &file, .needs = "a file"},
        {"--json", .flag = &json},
        {"--whole", .flag = &look.whole},
        {0},
    };
    int status = options_read(OPTIONS_ANYWHERE, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    if (argc > 2)
        return complain(EXIT_USAGE, "snapshot: one target, not '%s' and '%s'", argv[1], argv[2]);
    if (argc < 2)
        return complain(EXIT_USAGE, "snapshot: no target given; see `quarry snapshot --help`");
    if (strcmp(file, "-") == 0 && !json && isatty(STDOUT_FILENO))
        return complain(EXIT_USAGE,
                        "snapshot: this is nothing for a terminal: -o FILE says where to, or --json");
    struct model m;
    status = capture("snapshot", argv[1], &look, &m);
    if (status == EXIT_FINE)
        status = output_write("snapshot", file, json ? write_json : write_packed, &m);
    model_free(&m);
    return status;
}
