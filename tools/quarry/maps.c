#include "maps.h"

#include "memory.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct map *maps_add(struct maps *maps, uint64_t from, uint64_t to, const char *perms, const char *name,
                     bool is_file)
{
    maps->list = grow(maps->list, maps->count, sizeof *maps->list);
    struct map *m = &maps->list[maps->count++];
    *m = (struct map){.from = from, .to = to, .is_file = is_file, .name = copy_text(name)};
    snprintf(m->perms, sizeof m->perms, "%s", perms);
    return m;
}

static int by_address(const void *a, const void *b)
{
    const struct map *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

void maps_sort(struct maps *maps)
{
    if (maps->count)
        qsort(maps->list, maps->count, sizeof *maps->list, by_address);
}

const struct map *maps_find(const struct maps *maps, uint64_t address)
{
    size_t from = 0, to = maps->count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        const struct map *m = &maps->list[middle];
        if (address < m->from)
            to = middle;
        else if (address >= m->to)
            from = middle + 1;
        else
            return m;
    }
    return NULL;
}

/* "Rss:                 12 kB" of smaps. */
static void take_detail(struct map *m, const char *line)
{
    static const struct {
        const char *key;
        size_t offset;
    } keys[] = {{"Rss:", offsetof(struct map, resident)},
                {"Swap:", offsetof(struct map, swapped)},
                {"AnonHugePages:", offsetof(struct map, huge)}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t length = strlen(keys[i].key);
        if (strncmp(line, keys[i].key, length) == 0)
            *(uint64_t *)((char *)m + keys[i].offset) = strtoull(line + length, NULL, 10) * 1024;
    }
}

static void take_line(struct maps *maps, char *line)
{
    uint64_t from, to, offset, inode;
    char perms[5];
    int name = 0;
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*x:%*x %" SCNu64 " %n", &from, &to, perms,
               &offset, &inode, &name) >= 5 &&
        name)
        maps_add(maps, from, to, perms, line + name, inode != 0);
    else if (maps->count)
        take_detail(&maps->list[maps->count - 1], line);
}

bool maps_read(int pid, bool details, struct maps *maps)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, details ? "smaps" : "maps");
    *maps = (struct maps){0};
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0)
        take_line(maps, line);
    free(line);
    bool read = !ferror(file);
    int saved = errno;
    fclose(file);
    if (read && maps->count)
        return true;
    errno = read ? ESRCH : saved; /* a zombie has no mappings */
    return false;
}

void maps_free(struct maps *maps)
{
    for (size_t i = 0; i < maps->count; i++)
        free(maps->list[i].name);
    free(maps->list);
    *maps = (struct maps){0};
}
