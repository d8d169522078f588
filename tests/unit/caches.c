/* Thread caches and the runs that they own, at moments that last for a few instructions of another thread. */
/* not: asan */
#include "internals.h"

#include <quarry/malloc.h>

#include "run/run.h"
#include "tcache/tcache.h"

enum { SIZE = 1000 };

/* A run of which all cells are in use, with none on the thread's stack. */
static struct qy_run *take_all_of_a_run(void)
{
    void *block = malloc(SIZE);
    assert_true(qy_zone_has((uintptr_t)block));
    struct qy_run *run = qy_run_of((uintptr_t)block);
    while (qy_run_has_cells(run) || qy_stack_count(qy_class_stack(qy_self, run->cls)) > 0)
        malloc(SIZE);
    return run;
}

/*
 * Who gives cells back announces them before he sets their bits: meanwhile the run may be looked at, again and again.
 */
static void announced_is_not_there(void **state)
{
    (void)state;
    internals_ready();
    struct qy_run *run = take_all_of_a_run();
    struct qy_tcache *host = qy_self->host;
    assert_ptr_equal(run->owner, host);
    qy_add_acq_rel(&run->announced, 1);
    run->inbox_next = host->inbox;
    host->inbox = run;
    malloc_trim(0); /* the check build looks at all runs */
    assert_false(qy_run_has_cells(run));
    assert_null(run->next); /* and no request looks at this one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(announced_is_not_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
