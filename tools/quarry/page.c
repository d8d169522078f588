#include "page.h"

#include "command.h"
#include "files.h"
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int page_write(const char *command, const char *name, const char *word, FILE *out,
               void (*fill)(struct json *json, const void *data), const void *data)
{
    char *file = join_text(name, "html", '.'), path[PATH_MAX];
    bool built = files_find(FILES_SHARE, file, path);
    free(file);
    if (!built && errno != ENOENT)
        return complain(EXIT_OURSELVES, "%s: share/quarry/%s.html: %s", command, name, strerror(errno));
    if (!built)
        return complain(EXIT_OURSELVES, "%s: share/quarry/%s.html is not there: it was not built (esbuild)",
                        command, name);
    size_t length;
    char *page = files_read(path, &length);
    if (!page)
        return complain(EXIT_OURSELVES, "%s: %s: %s", command, path, strerror(errno));
    char *place = strstr(page, word);
    if (!place) {
        free(page);
        return complain(EXIT_OURSELVES, "%s: %s: holds no %s", command, path, word);
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
