/*
 * A program with a heap of every kind of block, for tests/scripts/see_damage.py: prints where things are and waits. The
 * test overwrites them from outside.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *work(void *arg)
{
    static void *blocks[3000];
    for (int i = 0; i < 3000; i++)
        blocks[i] = malloc((size_t)(i * 7 % 3000));
    for (int i = 0; i < 3000; i += 3)
        free(blocks[i]);
    pause();
    return arg;
}

int main(void)
{
    static char *blocks[4000];
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    for (int i = 0; i < 4000; i++)
        blocks[i] = malloc((size_t)(i * 13 % 2500 + 1));
    for (int i = 0; i < 4000; i += 2)
        free(blocks[i]);
    char *large = malloc(300000);
    char *medium = malloc(5000), *after = malloc(5000);
    memset(medium, 1, 5000);
    sleep(1);
    printf("%p %p %p %p\n", (void *)blocks[1], (void *)large, (void *)medium, (void *)after);
    fflush(stdout);
    pause();
    return 0;
}
