/*
 * The options parser takes any text: no crash, no read outside it, and every option stays in its range.
 * Input: the text of QUARRY_CONF.
 */
#include "options/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_in_range(const char *name, uint64_t value, uint64_t min, uint64_t max)
{
    if (value >= min && value <= max)
        return;
    fprintf(stderr, "%s is %llu\n", name, (unsigned long long)value);
    abort();
}

/* What the parser says about bad text is not looked at. */
static void load_quietly(const char *text)
{
    int kept = dup(2), quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(quiet, 2);
    qy_options_load(text);
    dup2(kept, 2);
    close(kept);
    close(quiet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (!strstr(text, "abort_conf")) /* which aborts, as it shall */
        load_quietly(text);
    free(text);
#define OPTION(name, type, min, max, def, classic, env, tunable, mallopt, text) \
    expect_in_range(#name, qy_options.name, min, max);
#include "options/options.def"
#undef OPTION
    return 0;
}
