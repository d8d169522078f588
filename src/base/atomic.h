/*
 * Atomics that carry their memory order in the name. Whoever writes `release` or `acquire` says beside it what
 * is published, and to whom.
 */
#ifndef QY_BASE_ATOMIC_H
#define QY_BASE_ATOMIC_H

#if defined(__SANITIZE_THREAD__)
#define QY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QY_TSAN 1
#endif
#endif

#define qy_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define qy_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define qy_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define qy_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/*
 * As relaxed, of an aligned word or part of one; but the compiler may fold it into the instruction that needs it, or
 * read twice, which it does with no atomic. So these are for hot paths, and for who does not mind which of two values
 * he sees. ThreadSanitizer is told what they are meant as.
 */
#ifdef QY_TSAN
#define qy_load_plain(p) qy_load_relaxed(p)
#define qy_store_plain(p, v) qy_store_relaxed((p), (v))
#else
#define qy_load_plain(p) (*(p))
#define qy_store_plain(p, v) ((void)(*(p) = (v)))
#endif

#define qy_swap_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)
#define qy_swap_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define qy_swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define qy_swap_seq_cst(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

#define qy_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define qy_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define qy_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define qy_sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define qy_or_release(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELEASE)

/* On failure *expected holds what was found, with relaxed order: callers loop or give up. */
#define qy_cas_acquire(p, expected, v) \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define qy_cas_release(p, expected, v) \
    __atomic_compare_exchange_n((p), (expected), (v), true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)

#define qy_fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* A counter with one writer, read by others for statistics: no read-modify-write needed. */
#define qy_count_add(p, v) qy_store_relaxed((p), qy_load_relaxed(p) + (v))

#endif
