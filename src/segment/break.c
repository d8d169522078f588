#include "segment/break.h"

#include "os/brk.h"
#include "os/pages.h"

#define CHUNK_ALIGNMENT 16

bool qy_break_grow(struct qy_break *seg, size_t bytes, size_t if_apart, struct qy_break_piece *piece)
{
    bytes = qy_align_up(bytes, qy_page_bytes);
    if (bytes > PTRDIFF_MAX)
        return false;
    char *was = qy_brk_move((intptr_t)bytes);
    if (!was)
        return false;
    piece->continues = was == seg->end;
    piece->from = was;
    piece->to = was + bytes;
    if (!piece->continues) {
        /* First use, or the program moved the break: start anew behind it, and end at a page boundary (M-20). */
        piece->from = (char *)qy_align_up((uintptr_t)was, CHUNK_ALIGNMENT);
        uintptr_t wanted =
            qy_align_up((uintptr_t)piece->to + if_apart + (size_t)(piece->from - was), qy_page_bytes);
        size_t more = wanted - (uintptr_t)piece->to;
        if (more) {
            char *end = qy_brk_move((intptr_t)more);
            if (end != piece->to) {
                /* No more, or somebody moved it again: what cannot be given back stays behind as a hole. */
                if (!end && qy_brk_move(0) == piece->to)
                    qy_brk_move(-(intptr_t)bytes);
                return false;
            }
            piece->to += more;
        }
    }
    if (!seg->first)
        seg->first = piece->from;
    seg->end = piece->to;
    return true;
}

void qy_break_undo(struct qy_break *seg, const struct qy_break_piece *piece)
{
    if (!qy_break_shrink(seg, (size_t)(piece->to - piece->from)))
        seg->end = NULL; /* no growth continues here */
}

bool qy_break_shrink(struct qy_break *seg, size_t bytes)
{
    if (qy_brk_move(0) != seg->end || bytes > PTRDIFF_MAX)
        return false;
    if (!qy_brk_move(-(intptr_t)bytes))
        return false;
    seg->end -= bytes;
    return true;
}
