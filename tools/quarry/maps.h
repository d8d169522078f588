/* The mappings of a process, as /proc/PID/maps or a core file tell them. Owns: parsing and look-up. */
#ifndef QUARRY_MAPS_H
#define QUARRY_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
    uint64_t from, to;
    char perms[5]; /* "rw-p" */
    bool is_file;
    char *name;                       /* "" for none */
    uint64_t resident, swapped, huge; /* bytes, if known */
};

struct maps {
    struct map *list; /* by address */
    size_t count;
};

/*
 * False: the process is gone, or may not be looked at; errno says which. `details` reads smaps instead, which is
 * slower.
 */
bool maps_read(int pid, bool details, struct maps *maps);

struct map *maps_add(struct maps *maps, uint64_t from, uint64_t to, const char *perms, const char *name,
                     bool is_file);
void maps_sort(struct maps *maps);

/* The mapping at an address; NULL: nothing is mapped there. */
const struct map *maps_find(const struct maps *maps, uint64_t address);

void maps_free(struct maps *maps);

#endif
