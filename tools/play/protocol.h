/*
 * What `quarry play` and the program it studies say to each other: fixed records over two pipes.
 *
 *      player   -- struct play_command -------------------->  host, descriptor PLAY_COMMANDS
 *      host     -- struct play_reply, then its events ----->  player, descriptor PLAY_REPLIES
 *
 * One command at a time; between a reply and the next command the host does nothing, so that the player may look at it.
 */
#ifndef PLAY_PROTOCOL_H
#define PLAY_PROTOCOL_H

#include <stdint.h>

enum { PLAY_COMMANDS = 3, PLAY_REPLIES = 4 };
enum { PLAY_THREADS = 64 }; /* numbered from 1; 1 is the main thread */

enum play_call {
    PLAY_HELLO, /* no call at all: the host is there */
    PLAY_MALLOC,
    PLAY_CALLOC,
    PLAY_REALLOC,
    PLAY_REALLOCARRAY,
    PLAY_FREE,
    PLAY_MEMALIGN,
    PLAY_ALIGNED_ALLOC,
    PLAY_POSIX_MEMALIGN,
    PLAY_VALLOC,
    PLAY_PVALLOC,
    PLAY_USABLE,
    PLAY_NEW,
    PLAY_DELETE,
    PLAY_TRIM,
    PLAY_MALLOPT,
    PLAY_STATS,
    PLAY_INFO,
    PLAY_SBRK,
    PLAY_WRITE, /* address, count, byte */
    PLAY_POKE,  /* address, 8-byte value */
    PLAY_READ,  /* address, count: touches without writing */
    PLAY_LIMIT, /* resource, bytes */
    PLAY_SLEEP, /* milliseconds */
    PLAY_EXIT,  /* the thread ends */
    PLAY_FORK,  /* from here on the player talks to the child */
};

struct play_command {
    uint32_t call; /* enum play_call */
    uint32_t thread;
    uint64_t arguments[3];
};

struct play_reply {
    uint64_t result;
    int32_t error;  /* errno, where the result says that there was an error */
    int32_t signal; /* the step ended with this signal; nothing more can be run */
    uint32_t pid, tid;
    uint64_t happened; /* events; the first PLAY_EVENTS of them follow */
    uint32_t events;
    uint32_t unused;
};

#endif
