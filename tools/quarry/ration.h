/*
 * How much one walk may read. Tables that were written over may lead it to the same memory again and again, or to
 * memory that is no more than promised: then it is told that nothing more can be read, which ends all its loops.
 */
#ifndef QUARRY_RATION_H
#define QUARRY_RATION_H

#include <quarry/walk.h>

struct ration {
    quarry_read *read;
    void *context;
    uint64_t (*there)(const void *context); /* bytes that there are to be read, as far as is known by now */
    uint64_t used;
    bool spent;
};

/* Another step of the walk, which takes its time whether or not it reads. */
void ration_use(struct ration *ration, uint64_t bytes);

/* A quarry_read. */
size_t ration_read(void *ration, uint64_t address, void *buffer, size_t length);

#endif
