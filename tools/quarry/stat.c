/* quarry stat: a heap on one screen. Owns: the options, and which words stand for which figures. */
#include "capture.h"
#include "command.h"
#include "figures.h"
#include "memory.h"
#include "options.h"
#include "output.h"
#include "snapshot_json.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] = "usage: quarry stat [OPTIONS] PID|CORE|SNAPSHOT\n"
                           "\n"
                           "Says where the memory of a heap is: parts that add up to what is mapped.\n"
                           "\n"
                           "  --watch[=SECONDS]  again and again, every 2 seconds if not said otherwise\n"
                           "  --whole            look at the headers of all blocks, however large the heap\n"
                           "                     is; the stop is longer\n"
                           "  --json             the same as JSON, one object a line\n"
                           "  --openmetrics      the same for a metrics collector\n"
                           "  --help             this text\n"
                           "\n"
                           "Exit status: 0; 1 the heap is damaged, or the target cannot be looked at;\n"
                           "2 wrong usage; 125 quarry itself failed.\n";

enum form { SCREEN, JSON, OPENMETRICS };

struct settings {
    const char *target;
    int form;
    bool watch;
    struct capture_options capture;
};

/* ---- on a screen ---- */

static void print_head(const struct model *m)
{
    printf("%s %d  ", m->source == SOURCE_CORE ? "core file of process" : "process", m->pid);
    size_t length = strlen(m->command);
    while (length > 0 && m->command[length - 1] == ' ')
        length--;
    char *command = copy_text(m->command);
    command[length] = '\0';
    words_print_plain(stdout, command, "");
    free(command);
    printf("\nQuarry ");
    words_print_plain(stdout, m->version, "");
    printf(", %s profile; ", m->classic ? "classic" : "default");
    words_print_plain(stdout, m->taken_at, "");
    printf("; %s arena%s, %s thread cache%s, %s thread%s\n\n", words_count(m->arena_count),
           m->arena_count == 1 ? "" : "s", words_count(m->cache_count), m->cache_count == 1 ? "" : "s",
           words_count(m->thread_count), m->thread_count == 1 ? "" : "s");
}

static void print_line(const char *name, const struct figure *f, const struct figures *all, const char *text)
{
    printf("%-13s %11s  %8s", name, words_bytes(f->bytes), words_percent(f->bytes, all->mapped.bytes));
    if (all->residency_known)
        printf("  %11s", words_bytes(f->resident));
    printf("  %13s  %s\n", f->count ? words_count(f->count) : "", text);
}

static void print_findings(const struct model *m)
{
    if (m->finding_count == 0) {
        if (!m->headers_read)
            printf("\nHeaders of blocks in use were not looked at: --whole does.\n");
        return;
    }
    size_t all = m->finding_count + m->findings_left_out;
    printf("\n%s finding%s:\n", words_count(all), all == 1 ? "" : "s");
    for (size_t i = 0; i < m->finding_count && i < 10; i++) {
        const struct finding *f = &m->findings[i];
        printf("  ");
        words_print_plain(stdout, f->check, "");
        printf(": %s: ", words_address(f->address));
        words_print_plain(stdout, f->text, "");
        printf("%s\n", f->doubtful ? " (or a thread was half-way through)" : "");
    }
    if (m->finding_count > 10)
        printf("  and %s more\n", words_count(all - 10));
}

static void print_screen(const struct model *m, const struct figures *f)
{
    print_head(m);
    printf("%-13s %11s  %8s", "", "bytes", "");
    if (f->residency_known)
        printf("  %11s", "resident");
    printf("  %13s\n", "pieces");
    for (unsigned i = 0; i < PARTS; i++)
        if (f->parts[i].bytes)
            print_line(part_texts[i].name, &f->parts[i], f, part_texts[i].text);
    print_line("= mapped", &f->mapped, f, "from the kernel, all of the above");
    if (m->other_copies)
        printf("\n%s\n", words_other_copies(m->other_copies));
    if (f->huge)
        printf("\n%s of what is resident is in huge pages.\n", words_bytes(f->huge));
    if (m->source == SOURCE_PROCESS && m->stopped_us)
        printf("\nThe process stood still for %.1f ms%s.\n", (double)m->stopped_us / 1000,
               m->busy ? ", while a thread was at work in the heap" : "");
    print_findings(m);
}

/* What a thread may only have been half-way through is no damage. Of those left out nothing is known. */
static size_t certain_findings(const struct model *m)
{
    size_t count = m->findings_left_out;
    for (size_t i = 0; i < m->finding_count; i++)
        count += !m->findings[i].doubtful;
    return count;
}

static size_t doubtful_findings(const struct model *m)
{
    return m->finding_count + m->findings_left_out - certain_findings(m);
}

/* ---- for machines ---- */

static void print_json(const struct model *m, const struct figures *f)
{
    static struct json j;
    json_start(&j, stdout, false);
    json_open(&j, '{');
    json_member_text(&j, "format", "quarry-stat");
    json_member_number(&j, "version", 1);
    json_member_text(&j, "taken_at", m->taken_at);
    json_member_number(&j, "pid", (uint64_t)m->pid);
    json_member_text(&j, "command", m->command);
    json_member_text(&j, "profile", m->classic ? "classic" : "default");
    json_member_number(&j, "stopped_us", m->stopped_us);
    json_member_bool(&j, "busy", m->busy);
    json_member_number(&j, "arenas", m->arena_count);
    json_member_number(&j, "caches", m->cache_count);
    json_member_number(&j, "threads", m->thread_count);
    json_member_number(&j, "other_copies", m->other_copies);
    json_member_number(&j, "findings", certain_findings(m));
    json_member_number(&j, "doubtful_findings", doubtful_findings(m));
    snapshot_json_figures(&j, f);
    json_close(&j, '}');
    json_end(&j);
}

static void print_metric(const struct figures *f, const char *name, const char *what, const char *unit,
                         size_t offset)
{
    printf("# TYPE quarry_heap_%s gauge\n", name);
    if (*unit)
        printf("# UNIT quarry_heap_%s %s\n", name, unit);
    printf("# HELP quarry_heap_%s %s\n", name, what);
    for (unsigned i = 0; i < PARTS; i++)
        printf("quarry_heap_%s{part=\"%s\"} %" PRIu64 "\n", name, part_texts[i].key,
               *(const uint64_t *)((const char *)&f->parts[i] + offset));
}

static void print_openmetrics(const struct model *m, const struct figures *f)
{
    print_metric(f, "bytes", "Memory of the heap by what it is; the parts add up to what is mapped.", "bytes",
                 offsetof(struct figure, bytes));
    if (f->residency_known)
        print_metric(f, "resident_bytes", "The part of quarry_heap_bytes that is in physical memory.",
                     "bytes", offsetof(struct figure, resident));
    printf(
        "# TYPE quarry_heap_huge_bytes gauge\n# UNIT quarry_heap_huge_bytes bytes\n"
        "# HELP quarry_heap_huge_bytes What of the resident bytes is in huge pages.\nquarry_heap_huge_bytes %" PRIu64
        "\n",
        f->huge);
    print_metric(f, "pieces", "Blocks, chunks, cells or runs.", "", offsetof(struct figure, count));
    printf(
        "# TYPE quarry_heap_findings gauge\n# HELP quarry_heap_findings Words of the heap that could not be believed.\n"
        "quarry_heap_findings %zu\n"
        "# TYPE quarry_heap_doubtful_findings gauge\n"
        "# HELP quarry_heap_doubtful_findings Words that a thread may have been half-way through.\n"
        "quarry_heap_doubtful_findings %zu\n",
        certain_findings(m), doubtful_findings(m));
    printf(
        "# TYPE quarry_stopped_seconds gauge\n# UNIT quarry_stopped_seconds seconds\n"
        "# HELP quarry_stopped_seconds How long the process stood still for this look.\nquarry_stopped_seconds %.6f\n# EOF\n",
        (double)m->stopped_us / 1e6);
}

/* ---- all together ---- */

static int look_once(const struct settings *set, bool *could_look)
{
    struct model m;
    int status = capture("stat", set->target, &set->capture, &m);
    if (status == EXIT_FINE) {
        bool is_first = !*could_look;
        *could_look = true;
        struct figures f;
        figures_of(&m, &f);
        if (set->watch && set->form == SCREEN)
            output_clear(is_first);
        if (set->form == SCREEN)
            print_screen(&m, &f);
        else if (set->form == JSON)
            print_json(&m, &f);
        else
            print_openmetrics(&m, &f);
        status = print_text("");
        if (status == EXIT_FINE && certain_findings(&m))
            status = EXIT_FINDING;
    }
    model_free(&m);
    return status;
}

static bool parse_seconds(const char *word, double *seconds)
{
    char *end;
    *seconds = strtod(word, &end);
    return end != word && !*end && *seconds >= 0.1 && *seconds <= 86400;
}

int stat_main(int argc, char **argv)
{
    struct settings set = {.form = SCREEN};
    const char *every = NULL;
    const struct option options[] = {
        {"--watch", .flag = &set.watch, .value = &every},
        {"--whole", .flag = &set.capture.whole},
        {"--json", .choice = &set.form, .chosen = JSON},
        {"--openmetrics", .choice = &set.form, .chosen = OPENMETRICS},
        {0},
    };
    int status = options_read(OPTIONS_ANYWHERE, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    double seconds = 2;
    if (every && !parse_seconds(every, &seconds))
        return complain(EXIT_USAGE, "stat: --watch=%s: seconds are a number from 0.1 to 86400", every);
    if (set.watch && !every && argc == 3 && parse_seconds(argv[1], &seconds))
        return complain(EXIT_USAGE, "stat: one target, not '%s' and '%s'; seconds are said as --watch=%s",
                        argv[1], argv[2], argv[1]);
    if (argc > 2)
        return complain(EXIT_USAGE, "stat: one target, not '%s' and '%s'", argv[1], argv[2]);
    if (argc < 2)
        return complain(EXIT_USAGE, "stat: no target given; see `quarry stat --help`");
    set.target = argv[1];
    /* Watching ends with the process. What could be looked at once may be out of reach for a while. */
    bool could_look = false;
    while ((status = look_once(&set, &could_look)) <= EXIT_FINDING && set.watch && could_look &&
           capture_is_there(set.target)) {
        long ns = (long)((seconds - (double)(long)seconds) * 1e9);
        nanosleep(&(struct timespec){(time_t)seconds, ns}, NULL);
    }
    return status;
}
