#include "api/cxx.h"

/* A static program can open no library. */
void *qy_cxx_runtime(void *bound, QY_UNUSED const char *name)
{
    return bound;
}
