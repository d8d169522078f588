#include "api/cxx.h"

/* An archive is for static programs, too, which open no library: it goes by what it was linked with. */
void *qy_cxx_runtime(void *bound, QY_UNUSED const char *name)
{
    return bound;
}
