/*
 * Reading one's own memory as if it were another's: what is not mapped gives a short answer instead of a signal.
 */
#include <sys/uio.h>

#include "base/bits.h"
#include "base/kernel.h"
#include "os/pages.h"
#include "quarry/walk.h"

#define PIECES 64

/* The kernel copies whole pieces only, so each page is one. */
static size_t read_pieces(uint64_t address, char *buffer, size_t length)
{
    struct iovec local[PIECES], remote[PIECES];
    size_t n = 0, done = 0;
    for (; n < PIECES && done < length; n++) {
        size_t bytes = qy_min(qy_page_bytes - (address + done) % qy_page_bytes, length - done);
        local[n] = (struct iovec){buffer + done, bytes};
        remote[n] = (struct iovec){(void *)(uintptr_t)(address + done), bytes};
        done += bytes;
    }
    long got = qy_kernel(SYS_process_vm_readv, qy_kernel(SYS_getpid), (long)local, (long)n, (long)remote,
                         (long)n, 0);
    return got > 0 ? (size_t)got : 0;
}

QY_EXPORT size_t quarry_read_self(void *context, uint64_t address, void *buffer, size_t length)
{
    (void)context;
    size_t done = 0, got;
    while (done < length && (got = read_pieces(address + done, (char *)buffer + done, length - done)) != 0)
        done += got;
    return done;
}
