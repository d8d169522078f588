/*
 * Numbers and texts to bytes and back. One function describes a structure for both ways: with a pack that writes it
 * stores what is there, with one that reads it fills it in. Reading stops believing at the first thing that cannot be:
 * then everything reads as 0, and `bad` says so.
 */
#ifndef QUARRY_PACK_H
#define QUARRY_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pack {
    bool writing, bad;
    unsigned char *bytes;
    size_t used, room; /* reading: where we are, and where it ends */
};

void pack_number(struct pack *p, uint64_t *n); /* 7 bits a byte, low ones first, the last without bit 7 */
void pack_text(struct pack *p, char **text);   /* allocated when read */
void pack_fixed_text(struct pack *p, char *text, size_t room);
void pack_bytes(struct pack *p, void *bytes, size_t count);

/* A count of elements of which each takes at least one byte, and an array with room for them when reading. */
void *pack_array(struct pack *p, void *array, size_t *count, size_t element);

/* Any integer or enum of any width; bool too. */
#define PACK(p, field)                                      \
    do {                                                    \
        uint64_t pack_value_ = (uint64_t)(field);           \
        pack_number(p, &pack_value_);                       \
        if (!(p)->writing)                                  \
            (field) = (__typeof__((field) + 0))pack_value_; \
    } while (0)

/* The same for numbers that differ little from `base`. */
#define PACK_NEAR(p, field, base)                                                             \
    do {                                                                                      \
        uint64_t pack_far_ = (uint64_t)(field) - (uint64_t)(base);                            \
        pack_far_ = (p)->writing ? pack_far_ << 1 ^ (uint64_t)((int64_t)pack_far_ >> 63) : 0; \
        pack_number(p, &pack_far_);                                                           \
        if (!(p)->writing)                                                                    \
            (field) = (pack_far_ >> 1 ^ -(pack_far_ & 1)) + (uint64_t)(base);                 \
    } while (0)

#endif
