/*
 * The program that `quarry play` studies: does what it is told with the malloc of libquarry-play.so, one call at a
 * time.
 *
 * Owns: the threads that carry the calls out, and a malloc of its own. The dynamic loader, libc and everything here get
 * memory from that one, so the heap under study holds the script's blocks and nothing else. May not know: what a script
 * is.
 */
#include <quarry/probe.h>

#include "protocol.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- memory for everybody but the script ---- */

/* Never freed: libc asks for little, and all of it at start-up and when a thread is born. */
static void *own(size_t bytes, size_t alignment)
{
    static const size_t pool_bytes = (size_t)4 << 20;
    static char *pool;
    static size_t used;
    if (!pool) {
        void *at = mmap(NULL, pool_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1, 0);
        if (at == MAP_FAILED)
            return NULL;
        pool = at;
    }
    size_t start = (used + sizeof(size_t) + alignment - 1) & ~(alignment - 1);
    if (bytes > pool_bytes || start + bytes > pool_bytes)
        return NULL;
    used = start + bytes;
    ((size_t *)(pool + start))[-1] = bytes;
    return pool + start;
}

void *malloc(size_t size)
{
    return own(size, 16);
}

void free(void *mem)
{
    (void)mem;
}

void *calloc(size_t count, size_t size)
{
    return own(count * size, 16); /* fresh from the kernel, so zero */
}

void *realloc(void *mem, size_t size)
{
    void *to = own(size, 16);
    if (to && mem) {
        size_t had = ((size_t *)mem)[-1];
        memcpy(to, mem, had < size ? had : size);
    }
    return to;
}

void *memalign(size_t alignment, size_t size)
{
    return own(size, alignment < 16 ? 16 : alignment);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

/* ---- the malloc under study ---- */

static struct {
    void *(*malloc)(size_t), *(*calloc)(size_t, size_t), *(*realloc)(void *, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void (*free)(void *);
    void *(*memalign)(size_t, size_t), *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t), *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
    void *(*new)(size_t);
    void (*delete)(void *);
    int (*malloc_trim)(size_t), (*mallopt)(int, int);
    void (*malloc_stats)(void);
    int (*malloc_info)(int, FILE *);
} heap;

static bool find_heap(void)
{
    static const struct {
        const char *name;
        size_t offset;
    } functions[] = {
#define FUNCTION(f) {#f, offsetof(__typeof__(heap), f)}
        FUNCTION(malloc),
        FUNCTION(calloc),
        FUNCTION(realloc),
        FUNCTION(reallocarray),
        FUNCTION(free),
        FUNCTION(memalign),
        FUNCTION(aligned_alloc),
        FUNCTION(posix_memalign),
        FUNCTION(valloc),
        FUNCTION(pvalloc),
        FUNCTION(malloc_usable_size),
        FUNCTION(malloc_trim),
        FUNCTION(mallopt),
        FUNCTION(malloc_stats),
        FUNCTION(malloc_info),
#undef FUNCTION
        {"_Znwm", offsetof(__typeof__(heap), new)},
        {"_ZdlPv", offsetof(__typeof__(heap), delete)},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = dlsym(RTLD_NEXT, functions[i].name); /* behind this program: the library */
        memcpy((char *)&heap + functions[i].offset, &found, sizeof found);
        if (!found)
            return false;
    }
    return true;
}

static struct qy_probe_ring *ring;

/* ---- pipes ---- */

static bool transfer(ssize_t (*step)(int, void *, size_t), int fd, void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t n = step(fd, (char *)bytes + done, count - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static ssize_t write_some(int fd, void *bytes, size_t count)
{
    return write(fd, bytes, count);
}

static void answer(struct play_reply reply)
{
    reply.pid = (uint32_t)getpid();
    reply.tid = (uint32_t)gettid();
    reply.happened = ring->count;
    reply.events = (uint32_t)(reply.happened < QY_PROBE_EVENTS ? reply.happened : QY_PROBE_EVENTS);
    if (!transfer(write_some, PLAY_REPLIES, &reply, sizeof reply) ||
        !transfer(write_some, PLAY_REPLIES, ring->events, reply.events * sizeof ring->events[0]))
        _exit(0); /* the player is gone */
}

/* The script broke the heap, or touched what is not there. The thread stays as it is, to be looked at. */
static void on_signal(int number)
{
    answer((struct play_reply){.signal = number});
    for (;;)
        pause();
}

/* ---- calls ---- */

static struct play_reply pointer(void *mem)
{
    int error = mem ? 0 : errno;
    return (struct play_reply){.result = (uintptr_t)mem, .error = error};
}

static struct play_reply number(long value)
{
    return (struct play_reply){.result = (uint64_t)value, .error = value == -1 ? errno : 0};
}

static void settle(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static struct play_reply fork_here(void)
{
    pid_t pid = fork();
    if (pid == -1)
        return number(-1);
    while (pid > 0)
        pause(); /* the player talks to the child now */
    settle();
    return number(0);
}

static struct play_reply aligned(size_t alignment, size_t size)
{
    void *mem = NULL;
    int error = heap.posix_memalign(&mem, alignment, size);
    return (struct play_reply){.result = (uintptr_t)mem, .error = error};
}

static struct play_reply carry_out(const struct play_command *c)
{
    const uint64_t *a = c->arguments;
    void *at = (void *)a[0];
    errno = 0;
    switch ((enum play_call)c->call) {
    case PLAY_HELLO:
        return number((long)getpid());
    case PLAY_MALLOC:
        return pointer(heap.malloc(a[0]));
    case PLAY_CALLOC:
        return pointer(heap.calloc(a[0], a[1]));
    case PLAY_REALLOC:
        return pointer(heap.realloc(at, a[1]));
    case PLAY_REALLOCARRAY:
        return pointer(heap.reallocarray(at, a[1], a[2]));
    case PLAY_FREE:
        heap.free(at);
        break;
    case PLAY_MEMALIGN:
        return pointer(heap.memalign(a[0], a[1]));
    case PLAY_ALIGNED_ALLOC:
        return pointer(heap.aligned_alloc(a[0], a[1]));
    case PLAY_POSIX_MEMALIGN:
        return aligned(a[0], a[1]);
    case PLAY_VALLOC:
        return pointer(heap.valloc(a[0]));
    case PLAY_PVALLOC:
        return pointer(heap.pvalloc(a[0]));
    case PLAY_USABLE:
        return number((long)heap.malloc_usable_size(at));
    case PLAY_NEW:
        return pointer(heap.new(a[0]));
    case PLAY_DELETE:
        heap.delete(at);
        break;
    case PLAY_TRIM:
        return number(heap.malloc_trim(a[0]));
    case PLAY_MALLOPT:
        return number(heap.mallopt((int)a[0], (int)a[1]));
    case PLAY_STATS:
        heap.malloc_stats();
        break;
    case PLAY_INFO:
        return number(heap.malloc_info(0, stderr));
    case PLAY_SBRK:
        return number((long)sbrk((intptr_t)a[0]));
    case PLAY_WRITE:
        memset(at, (int)a[2], a[1]);
        break;
    case PLAY_POKE:
        memcpy(at, &a[1], sizeof a[1]);
        break;
    case PLAY_READ:
        for (size_t i = 0; i < a[1]; i++)
            (void)((volatile char *)at)[i];
        break;
    case PLAY_LIMIT:
        return number(setrlimit((int)a[0], &(struct rlimit){a[1], a[1]}));
    case PLAY_SLEEP:
        nanosleep(
            &(struct timespec){.tv_sec = (time_t)(a[0] / 1000), .tv_nsec = (long)(a[0] % 1000 * 1000000)},
            NULL);
        break;
    case PLAY_FORK:
        return fork_here();
    case PLAY_EXIT:
        break;
    }
    return number(0);
}

/* Only what the call did is to be seen. */
static void serve(const struct play_command *c)
{
    ring->count = 0;
    struct play_reply reply = carry_out(c);
    answer(reply);
}

/* ---- threads ---- */

/* The main thread passes a command on and waits until it is carried out; one word says whose turn it is. */
static struct worker {
    pthread_t thread;
    bool lives;
    uint32_t turn; /* atomic: 1 while the worker has a command */
    struct play_command command;
} workers[PLAY_THREADS + 1];

static void wait_until(uint32_t *turn, uint32_t wanted)
{
    uint32_t now;
    while ((now = __atomic_load_n(turn, __ATOMIC_ACQUIRE)) != wanted)
        syscall(SYS_futex, turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void pass(uint32_t *turn, uint32_t to)
{
    __atomic_store_n(turn, to, __ATOMIC_RELEASE);
    syscall(SYS_futex, turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *work(void *of)
{
    struct worker *w = of;
    for (;;) {
        wait_until(&w->turn, 1);
        if (w->command.call == PLAY_EXIT)
            return NULL; /* its destructors are what is to be seen: the main thread answers for it */
        serve(&w->command);
        pass(&w->turn, 0);
    }
}

static void end_thread(struct worker *w, const struct play_command *command)
{
    ring->count = 0;
    if (w->lives) {
        w->command = *command;
        pass(&w->turn, 1);
        pthread_join(w->thread, NULL);
    }
    *w = (struct worker){0};
    answer((struct play_reply){0});
}

static void hand_over(struct worker *w, const struct play_command *command)
{
    if (!w->lives && pthread_create(&w->thread, NULL, work, w) != 0) {
        answer((struct play_reply){.error = EAGAIN});
        return;
    }
    w->lives = true;
    w->command = *command;
    pass(&w->turn, 1);
    wait_until(&w->turn, 0);
}

static void forget_threads(void)
{
    memset(workers, 0, sizeof workers); /* in a child there are none */
}

int main(void)
{
    settle();
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* one touch, one page: on every machine */
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stderr, NULL, _IONBF, 0);
    pthread_atfork(NULL, NULL, forget_threads);
    if (!find_heap()) {
        static const char text[] = "play-host: libquarry-play.so lacks a function\n";
        return write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 2 : 1;
    }
    ring = quarry_probe_ring();
    struct play_command command;
    while (transfer(read, PLAY_COMMANDS, &command, sizeof command)) {
        if (command.thread <= 1)
            serve(&command);
        else if (command.call == PLAY_EXIT)
            end_thread(&workers[command.thread], &command);
        else
            hand_over(&workers[command.thread], &command);
    }
    return 0;
}
