#include "pack.h"

#include "command.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

static void make_room(struct pack *p, size_t more)
{
    if (p->room - p->used >= more)
        return;
    size_t room = p->room * 2 > p->used + more ? p->room * 2 : p->used + more + 4096;
    unsigned char *bytes = realloc(p->bytes, room);
    if (!bytes)
        exit(complain(EXIT_OURSELVES, "out of memory"));
    p->bytes = bytes;
    p->room = room;
}

static void write_number(struct pack *p, uint64_t n)
{
    make_room(p, 10);
    for (; n >= 0x80; n >>= 7)
        p->bytes[p->used++] = (unsigned char)(n | 0x80);
    p->bytes[p->used++] = (unsigned char)n;
}

static uint64_t read_number(struct pack *p)
{
    uint64_t n = 0;
    for (unsigned shift = 0; !p->bad; shift += 7) {
        if (p->used == p->room || shift > 63)
            break;
        unsigned char byte = p->bytes[p->used++];
        if (shift == 63 && byte > 1)
            break;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return n;
    }
    p->bad = true;
    return 0;
}

void pack_number(struct pack *p, uint64_t *n)
{
    if (p->writing)
        write_number(p, *n);
    else
        *n = read_number(p);
}

void pack_bytes(struct pack *p, void *bytes, size_t count)
{
    if (count == 0)
        return;
    if (p->writing) {
        make_room(p, count);
        memcpy(p->bytes + p->used, bytes, count);
    } else if (p->bad || p->room - p->used < count) {
        p->bad = true;
        memset(bytes, 0, count);
        return;
    } else {
        memcpy(bytes, p->bytes + p->used, count);
    }
    p->used += count;
}

void pack_text(struct pack *p, char **text)
{
    size_t length = p->writing ? strlen(*text) : 0;
    PACK(p, length);
    if (!p->writing) {
        if (p->room - p->used < length) {
            p->bad = true;
            length = 0;
        }
        *text = allocate(length + 1);
    }
    pack_bytes(p, *text, length);
}

void pack_fixed_text(struct pack *p, char *text, size_t room)
{
    char *copy = text;
    pack_text(p, &copy);
    if (p->writing)
        return;
    strncpy(text, copy, room - 1);
    text[room - 1] = '\0';
    free(copy);
}

void *pack_array(struct pack *p, void *array, size_t *count, size_t element)
{
    PACK(p, *count);
    if (p->writing)
        return array;
    if (*count > p->room - p->used) {
        p->bad = true;
        *count = 0;
    }
    /* As grow() would have made it: its capacity is a power of two. */
    size_t room = 1;
    while (room < *count)
        room *= 2;
    return *count ? allocate(room * element) : NULL;
}
