/*
 * judge: runs the model in child processes, round after round, each of its own seed; says the seed; on a
 * failure shrinks a single thread's list, or shows how far each of several threads came.
 */
#ifndef MODEL_JUDGE_H
#define MODEL_JUDGE_H

#include "shrink.h"
#include "threads.h"

struct judge_options {
    uint64_t seed;
    uint64_t steps; /* of each thread in a round; 0: as many as the seed says */
    int threads;
    double seconds; /* new rounds are begun for so long; 0: one round */
    double shrink_seconds;
};

static uint64_t judge_operations; /* carried out so far */

static inline void *judge_shared(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline void judge_say_end(const struct judge_options *o, uint64_t seed, int status)
{
    if (WIFSIGNALED(status))
        qt_say("    killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    qt_say("    repeat with: --seed %zu --threads %d --steps %zu\n", (size_t)seed, o->threads,
           (size_t)o->steps);
}

/* --------------------------------------------------------------- one thread */

static inline bool judge_single(const struct judge_options *o, uint64_t seed)
{
    enum { OPS_MAX = 1 << 20 };
    static struct op *ops;
    static struct model *model;
    static uint64_t *steps;
    if (!ops) {
        ops = heap_private(OPS_MAX * sizeof *ops);
        model = heap_private(sizeof *model);
        steps = judge_shared(sizeof *steps);
    }
    struct op_source source = op_source_of(seed, 1);
    struct op_list list = {ops, o->steps ? o->steps : rng_log(&source.rng, 500, 300000)};
    if (list.count > OPS_MAX)
        list.count = OPS_MAX;
    for (size_t i = 0; i < list.count; i++)
        ops[i] = op_next(&source);

    int status = shrink_try(model, &list, steps, false, 120);
    judge_operations += *steps;
    if (!status)
        return true;
    judge_say_end(o, seed, status);
    size_t failed_at = *steps;
    if (!shrink_try(model, &list, steps, true, 120)) {
        qt_say("    did not fail again (then at operation %zu): not a matter of these calls alone\n",
               failed_at);
        return false;
    }
    shrink(model, &list, steps, o->shrink_seconds);
    qt_say("    shrunk to %zu operations:\n", list.count);
    shrink_print(&list);
    status = shrink_try(model, &list, steps, false, 120);
    qt_say("    which ends with wait status 0x%x\n", (unsigned)status);
    return false;
}

/* --------------------------------------------------------------- several threads */

static inline bool judge_team(const struct judge_options *o, uint64_t seed, double seconds)
{
    uint64_t *steps = judge_shared(THREADS_MAX * sizeof *steps);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct team *team = heap_private(sizeof *team);
        team->threads = o->threads;
        team->steps = steps;
        team->steps_each = o->steps;
        team->end = qt_seconds() + seconds;
        alarm((unsigned)seconds + 120);
        team_run(team, seed);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    for (int t = 0; t < o->threads; t++)
        judge_operations += steps[t];
    if (status) {
        judge_say_end(o, seed, status);
        for (int t = 0; t < o->threads; t++)
            qt_say("    thread %d: %zu operations\n", t, (size_t)steps[t]);
    }
    munmap(steps, THREADS_MAX * sizeof *steps);
    return status == 0;
}

/* --------------------------------------------------------------- rounds */

static inline bool judge(const struct judge_options *o)
{
    double end = qt_seconds() + o->seconds;
    uint64_t seed = o->seed;
    if (!shadow_bits)
        shadow_open();
    if (!shadow_bits)
        qt_say("no memory for the shadow map: overlap is seen by contents only\n");
    for (int round = 0; round == 0 || qt_seconds() < end; round++, seed = rng_mix(seed + 1) >> 16) {
        double left = o->seconds ? end - qt_seconds() : 1e9, slice = left < 2 ? left : 2;
        if (o->threads == 1 ? !judge_single(o, seed) : !judge_team(o, seed, o->steps ? 1e9 : slice))
            return false;
    }
    qt_say("%zu operations\n", (size_t)judge_operations);
    return true;
}

#endif
