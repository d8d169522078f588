/*
 * A tiny process: starts, allocates a little, exits; `bench` starts it many times over. Asked `rss`, it prints
 * its exact resident size (smaps_rollup) before it exits; asked `whose`, the file its malloc comes from, after
 * the dynamic linker had its say.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void resident_print(void)
{
    char text[2048], line[64];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    const char *rss = strstr(text, "Rss:");
    int printed = snprintf(line, sizeof line, "rss_exact_kib=%ld\n", rss ? strtol(rss + 4, NULL, 10) : -1L);
    if (write(STDOUT_FILENO, line, (size_t)printed) != printed)
        _exit(3);
}

static int whose_print(void)
{
    Dl_info found;
    if (!dladdr((void *)malloc, &found))
        return 1;
    puts(found.dli_fname);
    return 0;
}

int main(int argc, char **argv)
{
    void *blocks[50];
    if (argc > 1 && !strcmp(argv[1], "whose"))
        return whose_print();
    for (unsigned i = 0; i < 50; i++) {
        size_t size = 16 + (size_t)i * 8;
        blocks[i] = malloc(size);
        if (!blocks[i])
            return 1;
        memset(blocks[i], 1, size);
    }
    for (unsigned i = 0; i < 50; i += 2)
        free(blocks[i]);
    if (argc > 1 && !strcmp(argv[1], "rss"))
        resident_print();
    return 0;
}
