#include "page.h"

#include "command.h"
#include "memory.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside this command: where the build leaves it, and where it is installed. */
static const char *const folders[] = {"../share/quarry", QUARRY_BIN_TO_DATA};

static FILE *open_page(const char *name)
{
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return NULL;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s/%s.html", self, folders[i], name);
        FILE *page = fopen(path, "re");
        if (page)
            return page;
    }
    return NULL;
}

/* All of a file, ended by a NUL; NULL: it cannot be read. */
static char *read_all(FILE *file)
{
    char *text = NULL;
    size_t used = 0, room = 0, got;
    do {
        room += 1 << 18;
        text = realloc(text, room + 1);
        if (!text)
            exit(complain(EXIT_OURSELVES, "out of memory"));
        got = fread(text + used, 1, room - used, file);
        used += got;
    } while (got);
    text[used] = '\0';
    if (!ferror(file))
        return text;
    free(text);
    return NULL;
}

int page_write(const char *command, const char *name, const char *word, FILE *out,
               void (*fill)(struct json *json, const void *data), const void *data)
{
    FILE *file = open_page(name);
    if (!file)
        return complain(EXIT_OURSELVES, "%s: share/quarry/%s.html is not there: it was not built (esbuild)",
                        command, name);
    char *page = read_all(file);
    fclose(file);
    char *place = page ? strstr(page, word) : NULL;
    if (!place) {
        free(page);
        return complain(EXIT_OURSELVES, "%s: share/quarry/%s.html holds no %s", command, name, word);
    }
    struct json *json = allocate(sizeof *json);
    fwrite(page, 1, (size_t)(place - page), out);
    json_start(json, out, true);
    fill(json, data);
    json_end(json);
    fputs(place + strlen(word), out);
    free(json);
    free(page);
    return EXIT_FINE;
}
