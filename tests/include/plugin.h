/*
 * A test that is also the library it opens: its own file, compiled with -DPLUGIN by the test itself (QUARRY_CC, or cc).
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "qtest.h"

static char plugin_folder[64], plugin_path[128];

static void plugin_remove(void)
{
    unlink(plugin_path);
    rmdir(plugin_folder);
}

/* `source`: __FILE__ of the test. Where there is no compiler, the test is skipped. */
static void plugin_compile(const char *source, const char *flags)
{
    char command[700];
    const char *cc = getenv("QUARRY_CC") ? getenv("QUARRY_CC") : "cc";
    snprintf(command, sizeof command, "unset LD_PRELOAD; command -v %s >/dev/null", cc);
    if (system(command) != 0)
        QT_SKIP("no compiler here");
    snprintf(plugin_folder, sizeof plugin_folder, "/tmp/quarry-plugin-XXXXXX");
    QT_CHECK(mkdtemp(plugin_folder) != NULL);
    snprintf(plugin_path, sizeof plugin_path, "%s/plugin.so", plugin_folder);
    snprintf(command, sizeof command,
             "unset LD_PRELOAD; %s -DPLUGIN -O1 -fno-builtin -fPIC -shared %s -o %s %s", cc, flags,
             plugin_path, source);
    bool compiled = system(command) == 0;
    if (!compiled)
        rmdir(plugin_folder);
    QT_CHECK(compiled);
}

#endif
