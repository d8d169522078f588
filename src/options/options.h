/*
 * The options in force. options.def is the one list of them; this module reads the environment into them.
 * Written at start-up and by mallopt() only; read everywhere without a lock (each is one aligned word).
 */
#ifndef QY_OPTIONS_OPTIONS_H
#define QY_OPTIONS_OPTIONS_H

#include "base/compiler.h"

struct qy_options {
#define OPTION(name, type, min, max, def, classic, env, tunable, mallopt, text) uint64_t name;
#include "options/options.def"
#undef OPTION
    /* mmap_threshold and trim_threshold follow what the program frees (M-22) until one of them is set by hand. */
    bool dynamic_thresholds;
};

QY_OURS struct qy_options qy_options;

/*
 * Reads, in this order, each overruling the one before: the defaults or the classic profile, glibc's environment,
 * GLIBC_TUNABLES, the program's own `const char *quarry_conf`, QUARRY_CONF. Says what is wrong on stderr.
 */
void qy_options_load(const char *built_in);

/* mallopt(): false when glibc would return 0. */
bool qy_options_mallopt(int parameter, int value);

/* Prints every option and its value on stderr. */
void qy_options_print(void);

#endif
