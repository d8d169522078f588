#include "observe/layout.h"

#include "chunk/freed.h"
#include "observe/shape.h"
#include "options/options.h"
#include "os/pages.h"
#include "run/run.h"
#include "segment/mapped.h"
#include "tcache/roster.h"

/* By this name it is this library's, also where another copy of Quarry was loaded before. */
QY_OURS struct quarry_layout qy_layout;

QY_EXPORT struct quarry_layout quarry_layout = {
    .magic = {QY_LAYOUT_MAGIC_0, QY_LAYOUT_MAGIC_1},
    .self = &qy_layout,
    .version = QY_LAYOUT_VERSION,
    .bytes = sizeof(struct quarry_layout),
    .shape = QY_LAYOUT_SHAPE,
    .main_arena = &qy_main_arena,
    .caches = &qy_roster,
    .zone = &qy_zone,
    .granules = qy_granule_root,
    .mapped = &qy_mapped,
    .options = &qy_options,
    .keys = qy_class_keys,
    .secret = &qy_freed_secret,
    .factor = &qy_freed_factor,
    .seals = &qy_seals,
    .library = QUARRY_VERSION,
};

extern struct quarry_layout qy_layout __attribute__((alias("quarry_layout")));

static uintptr_t thread_pointer(void)
{
#if defined(__x86_64__)
    uintptr_t pointer; /* clang 14 lacks the builtin */
    __asm__("movq %%fs:0, %0" : "=r"(pointer));
    return pointer;
#else
    return (uintptr_t)__builtin_thread_pointer();
#endif
}

void qy_layout_init(void)
{
    qy_layout.self_offset = (int64_t)((uintptr_t)&qy_self - thread_pointer());
    qy_store_release(&qy_layout.page_bytes, qy_page_bytes); /* publishes all of start-up */
}
