/*
 * Whether a large block will be filled: what huge pages are for (docs/decisions/0015-huge-pages.md). Nobody knows, but
 * programs repeat themselves: it will when the last one of its size, to the power of two, is resident throughout, or
 * was when it was freed. A guess; it needs no lock.
 */
#ifndef QY_SEGMENT_FILLED_H
#define QY_SEGMENT_FILLED_H

#include "options/options.h"
#include "os/pages.h"

QY_INLINE bool qy_may_be_huge(size_t bytes)
{
    return bytes >= QY_HUGE_BYTES && qy_options.huge && qy_pages_can_be_huge();
}

/*
 * These three for sizes that may be huge. A block that lies where one was tells nothing new: qy_filled_new is for fresh
 * memory.
 */
bool qy_will_be_filled(size_t bytes);
void qy_filled_new(const void *block, size_t bytes);
void qy_filled_gone(const void *block, size_t bytes); /* before its memory goes */

#endif
