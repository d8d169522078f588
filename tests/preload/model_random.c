/*
 * The model-based random test (M-40, M-06, M-31, M-33, M-34): random calls from one to eight threads, every
 * answer held against a model of what is live and what is in it; a failing single thread is shrunk to its
 * shortest list.
 *
 * Without arguments: about ten seconds in all, or QUARRY_TEST_LONG seconds for each case. The seed is
 * printed; QUARRY_TEST_SEED sets it.
 *     --seed N --threads N --steps N     one round as a failure's message says
 *     --seconds N                        rounds of new seeds for so long
 */
/* timeout: 240 */
#include "model/judge.h"

enum { CASE_TIMEOUT_S = 120 };

static uint64_t base_seed;

static void run_case(int threads, double seconds)
{
    const char *long_seconds = getenv("QUARRY_TEST_LONG");
    struct judge_options o = {.seed = base_seed, .threads = threads, .shrink_seconds = 60};
    o.seconds = long_seconds && atof(long_seconds) > 0 ? atof(long_seconds) : seconds;
    if (!judge(&o))
        QT_FAIL("seed %zu", (size_t)base_seed);
}

#define MODEL_CASE(name, threads, seconds)     \
    QTEST_X(name, .timeout_s = CASE_TIMEOUT_S) \
    {                                          \
        run_case(threads, seconds);            \
    }

MODEL_CASE("one thread's random calls do what the model says (M-40)", 1, 4)
MODEL_CASE("two threads' random calls, blocks handed over, do what the model says (M-31, M-33)", 2, 2)
MODEL_CASE("four threads' random calls, blocks handed over, do what the model says (M-31, M-33)", 4, 2)
MODEL_CASE("eight threads' random calls, blocks handed over, do what the model says (M-31, M-33)", 8, 2)

static int run_options(int argc, char **argv)
{
    struct judge_options o = {.seed = base_seed, .threads = 1, .shrink_seconds = 600};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            o.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--steps"))
            o.steps = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--threads"))
            o.threads = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--seconds"))
            o.seconds = atof(argv[i + 1]);
        else
            argc = 0;
    }
    if (argc % 2 == 0 || o.threads < 1 || o.threads > THREADS_MAX ||
        (o.threads > 1 && !o.steps && o.seconds <= 0)) {
        qt_say(
            "usage: [--seed N] [--threads 1-%d] [--steps N] [--seconds N]; threads need steps or seconds\n",
            THREADS_MAX);
        return 2;
    }
    bool fine = judge(&o);
    qt_print("%s\n", fine ? "1 passed, 0 failed" : "0 passed, 1 failed");
    return !fine;
}

int main(int argc, char **argv)
{
    const char *long_seconds = getenv("QUARRY_TEST_LONG");
    char scale[32];
    base_seed = rng_seed();
    qt_print("seed %zu\n", (size_t)base_seed);
    if (argc > 1 && !strncmp(argv[1], "--", 2))
        return run_options(argc, argv);
    if (long_seconds && atoi(long_seconds) > 0) {
        snprintf(scale, sizeof scale, "%d", atoi(long_seconds) / CASE_TIMEOUT_S + 2);
        setenv("QTEST_TIMEOUT_SCALE", scale, 1);
    }
    return qt_main(argc, argv);
}
