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

static void set_environment(bool classic, char *const *settings, size_t count, bool strict)
{
    char conf[4096];
    int used = snprintf(conf, sizeof conf, "classic:%s%s", classic ? "true" : "false",
                        strict ? ",abort_conf:true" : "");
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

/* `strict`: it ends when it does not take a setting. */
static bool begin(struct host *host, const char *path, bool classic, char *const *settings,
                  size_t setting_count, bool strict)
{
    int commands[2], replies[2], messages[2];
    if (pipe2(commands, O_CLOEXEC) || pipe2(replies, O_CLOEXEC) || pipe2(messages, O_CLOEXEC))
        return complain(false, "play: %s", strerror(errno));
    int pid = fork();
    if (pid == 0) {
        set_environment(classic, settings, setting_count, strict);
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
    return true;
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

enum exchange { ANSWERED, LATE, ENDED };

static enum exchange exchange(struct host *host, const struct play_command *command, struct answer *answer)
{
    bool sent = write(host->commands, command, sizeof *command) == sizeof *command;
    bool got = sent && get(host, &answer->reply, sizeof answer->reply) &&
               answer->reply.events <= QY_PROBE_EVENTS &&
               get(host, answer->events, answer->reply.events * sizeof answer->events[0]);
    enum exchange result = got ? ANSWERED : sent && errno == ETIMEDOUT ? LATE : ENDED;
    get_message(host, answer);
    return result;
}

static bool take_answer(struct host *host, enum exchange result, struct answer *answer)
{
    const char *colon = *answer->message ? ": " : "";
    if (result == LATE)
        return complain(false, "play: no answer of the program under study in %d s%s%s", PATIENCE_MS / 1000,
                        colon, answer->message);
    if (result == ENDED)
        return complain(false, "play: the program under study ended%s%s", colon, answer->message);
    answer->event_count = answer->reply.events;
    host->pid = (int)answer->reply.pid;
    return true;
}

bool host_call(struct host *host, const struct play_command *command, struct answer *answer)
{
    return take_answer(host, exchange(host, command, answer), answer);
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

static const struct play_command hello = {.call = PLAY_HELLO, .thread = 1};

/* The library says what it does not take, but not which of the settings said it: so they are added one by one. */
static bool find_refused(const char *path, bool classic, char *const *settings, size_t setting_count,
                         struct answer *answer, struct refusal *refusal)
{
    for (size_t i = 0; i < setting_count && !refusal->why; i++) {
        struct host host = {0};
        if (!begin(&host, path, classic, settings, i + 1, true))
            return false;
        if (exchange(&host, &hello, answer) == ENDED && *answer->message)
            *refusal = (struct refusal){.setting = i, .why = copy_text(answer->message)};
        host_end(&host);
    }
    return refusal->why;
}

bool host_start(struct host *host, const char *path, bool classic, char *const *settings,
                size_t setting_count, struct refusal *refusal)
{
    *refusal = (struct refusal){0};
    if (!begin(host, path, classic, settings, setting_count, false))
        return false;
    struct answer *answer = allocate(2 * sizeof *answer), *of_others = answer + 1;
    enum exchange result = exchange(host, &hello, answer);
    bool started = (result == ANSWERED && !*answer->message) ||
                   !find_refused(path, classic, settings, setting_count, of_others, refusal);
    if (started)
        started = take_answer(host, result, answer);
    if (started && *answer->message)
        complain(0, "play: %s", answer->message); /* of what it was asked to say */
    free(answer);
    return started;
}

bool host_read(const struct host *host, uint64_t address, void *to, size_t bytes)
{
    struct iovec ours = {to, bytes}, theirs = {(void *)address, bytes};
    return process_vm_readv(host->pid, &ours, 1, &theirs, 1, 0) == (ssize_t)bytes;
}
