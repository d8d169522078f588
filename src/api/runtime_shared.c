/*
 * The C++ runtime that comes late: a program in C opens a library in C++, as interpreters do with modules. What weak
 * references were bound to when the program began says nothing of it.
 */
#include <dlfcn.h>

#include "api/cxx.h"

static void *late(const char *name)
{
    static const char runtimes[][16] = {"libstdc++.so.6", "libc++.so.1"};
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        /* It stays: what is found is remembered. */
        void *runtime = dlopen(runtimes[i], RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
        if (!runtime)
            continue;
        void *found = dlsym(runtime, name);
        dlclose(runtime);
        if (found)
            return found;
    }
    return NULL;
}

void *qy_cxx_runtime(void *bound, const char *name)
{
    return bound ? bound : late(name);
}
