#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "memory.h"

/* A call that takes longer than this is not coming back. */
enum { PATIENCE_MS = 60000 };

static void set_environment(bool classic, char *const *settings, size_t count)
{
    char conf[4096];
    int used = snprintf(conf, sizeof conf, "%s", classic ? "classic:true" : "classic:false");
    static const char *const foreign[] = {
        "LD_PRELOAD",        "GLIBC_TUNABLES",         "MALLOC_ARENA_MAX",
        "MALLOC_ARENA_TEST", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_TOP_PAD_",   "MALLOC_MMAP_MAX_",       "MALLOC_PERTURB_",
        "MALLOC_CHECK_"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        unsetenv(foreign[i]); /* a lesson is the same everywhere */
    for (size_t i = 0; i < count; i++) {
        if (strchr(settings[i], '='))
            putenv(settings[i]);
        else if (used < (int)sizeof conf)
            used += snprintf(conf + used, sizeof conf - (size_t)used, ",%s", settings[i]);
    }
    setenv("QUARRY_CONF", conf, 1);
}

/* Moves a descriptor out of the way of 0 to PLAY_REPLIES. */
static int out_of_the_way(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, PLAY_REPLIES + 1);
}

/* What the host says before it ends is told to the reader. */
static void fail(int messages, const char *what)
{
    dprintf(messages, "%s: %s", what, strerror(errno));
    _exit(EXIT_OURSELVES);
}

static void become_host(const char *path, int commands, int replies, int messages)
{
    int says = messages;
    commands = out_of_the_way(commands);
    replies = out_of_the_way(replies);
    messages = out_of_the_way(messages);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (commands < 0 || replies < 0 || messages < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(messages, STDOUT_FILENO) < 0 || dup2(messages, STDERR_FILENO) < 0 ||
        dup2(commands, PLAY_COMMANDS) < 0 || dup2(replies, PLAY_REPLIES) < 0)
        fail(messages < 0 ? says : messages, "its descriptors");
    setpgid(0, 0);
    personality(ADDR_NO_RANDOMIZE); /* the same addresses every time, where that is allowed */
    execl(path, "play-host", (char *)NULL);
    fail(STDERR_FILENO, path);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

bool host_start(struct host *host, const char *path, bool classic, char *const *settings,
                size_t setting_count)
{
    int commands[2], replies[2], messages[2];
    if (pipe2(commands, O_CLOEXEC) || pipe2(replies, O_CLOEXEC) || pipe2(messages, O_CLOEXEC))
        return complain(false, "play: %s", strerror(errno));
    int pid = fork();
    if (pid == 0) {
        set_environment(classic, settings, setting_count);
        become_host(path, commands[0], replies[1], messages[1]);
    }
    if (pid < 0) {
        close_pair(commands);
        close_pair(replies);
        close_pair(messages);
        return complain(false, "play: %s", strerror(errno));
    }
    setpgid(pid, pid);
    close(commands[0]);
    close(replies[1]);
    close(messages[1]);
    fcntl(messages[0], F_SETFL, O_NONBLOCK);
    *host = (struct host){
        .pid = pid, .group = pid, .commands = commands[1], .replies = replies[0], .messages = messages[0]};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, &host->pipe_was);
    struct answer *answer = allocate(sizeof *answer);
    bool started = host_call(host, &(struct play_command){.call = PLAY_HELLO, .thread = 1}, answer);
    if (started && *answer->message)
        complain(0, "play: %s", answer->message); /* an option that the library does not take */
    free(answer);
    return started;
}

/* False with ETIMEDOUT when nothing came for too long, with 0 when nothing can come any more. */
static bool get(struct host *host, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        struct pollfd fd = {.fd = host->replies, .events = POLLIN};
        int ready = poll(&fd, 1, PATIENCE_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t n = ready > 0 ? read(host->replies, (char *)to + done, bytes - done) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = ready == 0 ? ETIMEDOUT : 0;
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

static void get_message(struct host *host, struct answer *answer)
{
    size_t used = 0;
    char rest[512];
    for (;;) {
        bool room = used + 1 < sizeof answer->message;
        ssize_t n = read(host->messages, room ? answer->message + used : rest,
                         room ? sizeof answer->message - used - 1 : sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += room ? (size_t)n : 0;
    }
    while (used && answer->message[used - 1] == '\n')
        used--;
    answer->message[used] = '\0';
}

bool host_call(struct host *host, const struct play_command *command, struct answer *answer)
{
    bool sent = write(host->commands, command, sizeof *command) == sizeof *command;
    bool got = sent && get(host, &answer->reply, sizeof answer->reply) &&
               answer->reply.events <= QY_PROBE_EVENTS &&
               get(host, answer->events, answer->reply.events * sizeof answer->events[0]);
    bool late = !got && sent && errno == ETIMEDOUT;
    get_message(host, answer);
    if (late)
        return complain(false, "play: no answer of the program under study in %d s%s%s", PATIENCE_MS / 1000,
                        *answer->message ? ": " : "", answer->message);
    if (!got)
        return complain(false, "play: the program under study ended%s%s", *answer->message ? ": " : "",
                        answer->message);
    answer->event_count = answer->reply.events;
    host->pid = (int)answer->reply.pid;
    return true;
}

void host_end(struct host *host)
{
    if (!host->group)
        return;
    kill(-host->group, SIGKILL);
    waitpid(host->group, NULL, 0);
    close(host->commands);
    close(host->replies);
    close(host->messages);
    sigaction(SIGPIPE, &host->pipe_was, NULL); /* what is printed may go to a pipe, too */
    *host = (struct host){0};
}

bool host_read(const struct host *host, uint64_t address, void *to, size_t bytes)
{
    struct iovec ours = {to, bytes}, theirs = {(void *)address, bytes};
    return process_vm_readv(host->pid, &ours, 1, &theirs, 1, 0) == (ssize_t)bytes;
}
