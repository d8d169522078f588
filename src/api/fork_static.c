#include <pthread.h>

#include "api/fork.h"

void qy_fork_init(void)
{
    pthread_atfork(qy_before_fork, qy_after_fork_in_parent, qy_after_fork_in_child);
}
