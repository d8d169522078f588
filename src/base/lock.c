#include "base/lock.h"

#include "base/atomic.h"
#include "base/kernel.h"

enum { FREE, HELD, CONTENDED };

/* As in linux/futex.h, which not every C library brings. */
enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_PRIVATE_FLAG = 128 };

/* Long enough to outlast a short critical section on another core, short enough to be no loss on one core. */
#define SPINS 100

static void futex(uint32_t *word, int operation, uint32_t value)
{
    qy_kernel(SYS_futex, (long)word, operation | FUTEX_PRIVATE_FLAG, value);
}

QY_INLINE void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#ifdef QY_DEBUG
static QY_THREAD uint32_t held_ranks;

static void note_taken(const struct qy_lock *lock, bool waits)
{
    /* fork takes every cache and every arena, one after the other, in list order: there, equal ranks are allowed. */
    bool several = lock->rank == QY_RANK_ARENA || lock->rank == QY_RANK_CACHE;
    uint32_t above = ~0u << (lock->rank + (several ? 1 : 0));
    QY_ASSERT(!waits || (held_ranks & above) == 0);
    held_ranks |= 1u << lock->rank;
}

static void note_released(const struct qy_lock *lock)
{
    held_ranks &= ~(1u << lock->rank);
}
#else
QY_INLINE void note_taken(const struct qy_lock *lock, bool waits)
{
    (void)lock;
    (void)waits;
}

QY_INLINE void note_released(const struct qy_lock *lock)
{
    (void)lock;
}
#endif

/* Acquire: what the last holder wrote under the lock is visible from here on. */
bool qy_trylock(struct qy_lock *lock)
{
    uint32_t expected = FREE;
    if (!qy_cas_acquire(&lock->state, &expected, HELD))
        return false;
    note_taken(lock, false);
    return true;
}

static QY_COLD void lock_slow(struct qy_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = FREE;
        if (qy_load_relaxed(&lock->state) == FREE && qy_cas_acquire(&lock->state, &expected, HELD))
            return;
        relax();
    }
    /* From here on we may sleep, so whoever unlocks must wake: CONTENDED until we know better. */
    while (qy_swap_acquire(&lock->state, CONTENDED) != FREE)
        futex(&lock->state, FUTEX_WAIT, CONTENDED);
}

void qy_lock(struct qy_lock *lock)
{
    uint32_t expected = FREE;
    if (!qy_cas_acquire(&lock->state, &expected, HELD))
        lock_slow(lock);
    note_taken(lock, true);
}

/* Release: publishes what was written under the lock to the next holder. */
void qy_unlock(struct qy_lock *lock)
{
    note_released(lock);
    if (qy_swap_acq_rel(&lock->state, FREE) == CONTENDED)
        futex(&lock->state, FUTEX_WAKE, 1);
}

void qy_lock_reset(struct qy_lock *lock)
{
    note_released(lock);
    qy_store_relaxed(&lock->state, FREE);
}

bool qy_lock_held(const struct qy_lock *lock)
{
    return qy_load_relaxed(&lock->state) != FREE;
}
