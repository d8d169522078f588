/*
 * quarry play: a small script on the real allocator, step by step. Owns: the options, where lessons lie.
 */
#include "show.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "files.h"
#include "memory.h"
#include "options.h"
#include "output.h"
#include "page.h"

static const char help[] = "usage: quarry play [OPTIONS] [SCRIPT|LESSON]\n"
                           "\n"
                           "Runs a small script on the real allocator and shows the heap after each step:\n"
                           "chunks to scale, header bits, bins, and the path of the call. Without a name,\n"
                           "all lessons in one page.\n"
                           "\n"
                           "  -o FILE    the page; play.html unless said; - is standard output\n"
                           "  --text     in the terminal instead: keys n, p, q; in a pipe, one step after\n"
                           "             another\n"
                           "  --json     the same as JSON (docs/formats.md), on standard output unless -o\n"
                           "             says where\n"
                           "  --check    only run, and check what the script expects\n"
                           "  --lang en|zh\n"
                           "             language of --text; that of the locale unless said\n"
                           "  --list     the lessons, and what each covers\n"
                           "  --explain  the sizes that textbooks give for 32-bit machines, and what they\n"
                           "             are here\n"
                           "  --help     this text\n"
                           "\n"
                           "Exit status: 0; 1 something the script expects is not so, or cannot be told; 2\n"
                           "wrong usage or script; 125 cannot run or write.\n";

static const char explanation[] =
    "Textbooks often give the sizes of 32-bit machines. On 64-bit machines they\n"
    "double:\n"
    "\n"
    "                                     32-bit   64-bit, classic profile\n"
    "  size field                              4   8   what a block costs beside its\n"
    "                                                  memory\n"
    "  from the chunk to its memory            8   16  prev_size and size\n"
    "  alignment, and smallest step            8   16  so the low four bits of a size\n"
    "                                                  are free: P, M, A\n"
    "  smallest chunk                         16   32  fd and bk must fit\n"
    "  fast bins, largest request             64   128 chunks of up to 128: max_fast\n"
    "                                                  counts bytes of chunk\n"
    "  small bins, apart                       8   16\n"
    "  small bins, below                     512   1024\n"
    "  mmap threshold, trim threshold    128 KiB   128 KiB\n"
    "  sub-heap of a thread's arena        1 MiB   64 MiB\n"
    "  thread cache, entries of one size       7   7\n"
    "\n"
    "Since glibc 2.26 a thread cache stands before everything the books describe: the\n"
    "first seven frees of a small size stay there. `option tcache_count:0` in a\n"
    "script shows the older behaviour.\n";

enum form { PAGE, TEXT, JSON, CHECK, LIST, EXPLAIN };
static const char *const form_options[] = {
    [TEXT] = "--text", [JSON] = "--json", [CHECK] = "--check", [LIST] = "--list", [EXPLAIN] = "--explain"};

struct settings {
    const char *name, *file, *language;
    int form;
};

static int read_options(int argc, char **argv, struct settings *set)
{
    const struct option options[] = {
        {"-o", .value = &set->file, .needs = "a file"},
        {form_options[TEXT], .choice = &set->form, .chosen = TEXT},
        {form_options[JSON], .choice = &set->form, .chosen = JSON},
        {form_options[CHECK], .choice = &set->form, .chosen = CHECK},
        {"--lang", .value = &set->language, .needs = "en or zh"},
        {form_options[LIST], .choice = &set->form, .chosen = LIST},
        {form_options[EXPLAIN], .choice = &set->form, .chosen = EXPLAIN},
        {0},
    };
    int status = options_read(OPTIONS_ANYWHERE, &argc, argv, help, options);
    if (status != GO_ON)
        return status;
    set->name = argv[1];
    if (argc > 2)
        return complain(EXIT_USAGE, "play: one script, not '%s' and '%s'", argv[1], argv[2]);
    if (set->language && strcmp(set->language, "en") != 0 && strcmp(set->language, "zh") != 0)
        return complain(EXIT_USAGE, "play: --lang is en or zh, not '%s'", set->language);
    if (set->name && (set->form == LIST || set->form == EXPLAIN))
        return complain(EXIT_USAGE, "play: %s takes no script, and '%s' was given", form_options[set->form],
                        set->name);
    if (set->file && set->form != PAGE && set->form != JSON)
        return complain(EXIT_USAGE, "play: -o is for the page and for --json, not for %s",
                        form_options[set->form]);
    if (set->form == TEXT && !set->name)
        return complain(EXIT_USAGE,
                        "play: --text needs a script or a lesson; `quarry play --list` lists them");
    return GO_ON;
}

/* ---- files that belong to the command ---- */

static char *read_text(const char *path)
{
    size_t length;
    char *text = files_read(path, &length);
    if (!text)
        complain(0, "play: %s: %s", path, strerror(errno));
    else if (strlen(text) == length)
        return text;
    else
        complain(0, "play: %s: this is no text", path);
    free(text);
    return NULL;
}

/* ---- lessons ---- */

static bool is_lesson_name(const char *name)
{
    return !strchr(name, '/') && !strchr(name, '.');
}

static int is_lesson_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".play") == 0;
}

/* File names of all lessons, in the order in which they are to be read; -1 after a line on stderr. */
static int find_lessons(char *folder, struct dirent ***names)
{
    int count =
        files_find(FILES_SHARE, "lessons", folder) ? scandir(folder, names, is_lesson_file, alphasort) : -1;
    return count > 0    ? count
           : count == 0 ? complain(-1, "play: there are no lessons in ../share/quarry/lessons")
                        : complain(-1, "play: lessons, in ../share/quarry seen from this command: %s",
                                   strerror(errno));
}

/* "03-tcache.play" is lesson tcache. */
static char *lesson_of(const char *file)
{
    const char *dash = strchr(file, '-');
    char *name = copy_text(dash ? dash + 1 : file);
    *strrchr(name, '.') = '\0';
    return name;
}

static int read_script(const char *path, struct script *script)
{
    char *text = read_text(path);
    if (!text)
        return EXIT_USAGE;
    bool good = script_read(path, text, script);
    free(text);
    return good ? EXIT_FINE : EXIT_USAGE;
}

static int list_lessons(void)
{
    char folder[PATH_MAX], path[PATH_MAX * 2];
    struct dirent **names;
    int count = find_lessons(folder, &names), status = EXIT_FINE;
    for (int i = 0; i < count && status == EXIT_FINE; i++) {
        struct script script;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        status = read_script(path, &script);
        if (status != EXIT_FINE)
            break;
        printf("%-14s %s\n%-14s", lesson_of(names[i]->d_name), script.title ? script.title : "", "");
        for (size_t k = 0; k < script.cover_count; k++)
            printf(" %s", script.covers[k]);
        putchar('\n');
    }
    return count < 0 ? EXIT_OURSELVES : status != EXIT_FINE ? status : print_text("");
}

/* ---- running ---- */

struct played {
    struct play play;
    struct script script;
    char *lesson; /* NULL: the reader's own script */
};

static int run_file(const char *path, struct played *played)
{
    char host[PATH_MAX];
    if (!files_find(FILES_LIB, "quarry/play-host", host))
        return complain(EXIT_OURSELVES, "play: play-host, in ../lib/quarry seen from this command: %s",
                        strerror(errno));
    int status = read_script(path, &played->script);
    if (status != EXIT_FINE)
        return status;
    switch (play_run(&played->script, host, &played->play)) {
    case PLAY_FINE:
        return EXIT_FINE;
    case PLAY_FALSE:
        return EXIT_FINDING;
    case PLAY_REFUSED:
        return EXIT_USAGE;
    default:
        return EXIT_OURSELVES;
    }
}

/* All that was asked for: one script, one lesson, or every lesson. */
struct course {
    struct played *list;
    size_t count;
};

static int run_lessons(struct course *course, const char *wanted)
{
    char folder[PATH_MAX], path[PATH_MAX * 2];
    struct dirent **names;
    int count = find_lessons(folder, &names), status = EXIT_FINE;
    if (count < 0)
        return EXIT_OURSELVES;
    course->list = allocate((size_t)count * sizeof *course->list);
    for (int i = 0; i < count; i++) {
        char *lesson = lesson_of(names[i]->d_name);
        if (wanted && strcmp(lesson, wanted) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        struct played *played = &course->list[course->count++];
        *played = (struct played){.lesson = lesson};
        int result = run_file(path, played);
        if (result > status)
            status = result;
    }
    if (!course->count)
        return complain(EXIT_USAGE,
                        "play: there is no lesson '%s' and no such file; `quarry play --list` lists them",
                        wanted);
    return status;
}

static int run_course(struct course *course, const char *name)
{
    if (!name || (is_lesson_name(name) && access(name, F_OK) != 0))
        return run_lessons(course, name);
    course->list = allocate(sizeof *course->list);
    course->count = 1;
    return run_file(name, &course->list[0]);
}

/* ---- showing ---- */

static void write_course(struct json *j, const struct course *course)
{
    if (course->count == 1) {
        play_json(j, &course->list[0].play, course->list[0].lesson);
        return;
    }
    json_open(j, '{');
    json_member_text(j, "format", "quarry-course");
    json_member_number(j, "version", 1);
    json_key(j, "plays");
    json_open(j, '[');
    for (size_t i = 0; i < course->count; i++)
        play_json(j, &course->list[i].play, course->list[i].lesson);
    json_close(j, ']');
    json_close(j, '}');
}

static void fill_page(struct json *j, const void *course)
{
    write_course(j, course);
}

static int write_page(FILE *out, const void *course)
{
    return page_write("play", "play", "@PLAY@", out, fill_page, course);
}

static int write_json(FILE *out, const void *course)
{
    static struct json j;
    json_start(&j, out, false);
    write_course(&j, course);
    json_end(&j);
    return EXIT_FINE;
}

static int save(const struct settings *set, const struct course *course)
{
    bool as_json = set->form == JSON;
    const char *file = set->file ? set->file : as_json ? "-" : "play.html";
    int status = output_write("play", file, as_json ? write_json : write_page, course);
    size_t steps = 0;
    for (size_t i = 0; i < course->count; i++)
        steps += course->list[i].play.count;
    if (status == EXIT_FINE && strcmp(file, "-") != 0)
        fprintf(stderr, "%s: %zu steps\n", file, steps);
    return status;
}

/* A locale says what its terminal shows, too: our Chinese is UTF-8. */
static enum language language(const char *wanted)
{
    if (wanted)
        return strcmp(wanted, "zh") == 0 ? CHINESE : ENGLISH;
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; !wanted && i < 3; i++)
        if (getenv(variables[i]) && *getenv(variables[i]))
            wanted = getenv(variables[i]);
    bool is_utf8 = wanted && (strcasestr(wanted, ".utf-8") || strcasestr(wanted, ".utf8"));
    return is_utf8 && strncmp(wanted, "zh", 2) == 0 ? CHINESE : ENGLISH;
}

static int show(const struct settings *set, const struct course *course)
{
    if (set->form == TEXT)
        return play_text(&course->list[0].play, language(set->language));
    if (set->form != CHECK)
        return save(set, course);
    for (size_t i = 0; i < course->count; i++) {
        const struct played *p = &course->list[i];
        printf("%s: %zu steps, %u expectations hold\n", p->lesson ? p->lesson : p->script.path, p->play.count,
               p->play.checked);
    }
    return print_text("");
}

int play_main(int argc, char **argv)
{
    struct settings set = {0};
    int status = read_options(argc, argv, &set);
    if (status != GO_ON)
        return status;
    if (set.form == EXPLAIN)
        return print_text(explanation);
    if (set.form == LIST)
        return list_lessons();
    struct course course = {0};
    int result = run_course(&course, set.name);
    status = EXIT_FINE;
    bool any = course.count && course.list[0].play.count;
    if (any && (result == EXIT_FINE || result == EXIT_FINDING))
        status = show(&set, &course);
    return status != EXIT_FINE ? status : result;
}
