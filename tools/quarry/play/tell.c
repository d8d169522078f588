#include "tell.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* {at}: the block, by its variable if it has one; {n}: bytes; {s}: bytes with a sign; {i}: a plain number. */
static const struct {
    enum qy_probe_store store;
    enum qy_probe_did did;
    const char *text[2];
} sentences[] = {
    {QY_AT_GATE,
     QY_DID_ASKED,
     {"Is {at} a block in use, and are its header and its neighbour's header intact?",
      "检查：{at} 是一个正在使用的块吗？它自己和后一块的头部完好吗？"}},
    {QY_AT_GATE,
     QY_DID_REFUSED,
     {"A check fails: one line is printed, and the process ends before harm is done.",
      "检查不通过：打印一行信息，在造成损害之前终止进程。"}},
    {QY_AT_TCACHE,
     QY_DID_ASKED,
     {"Does this thread's own cache hold a block of {n}?", "本线程的缓存 tcache 里有 {n}的块吗？"}},
    {QY_AT_TCACHE,
     QY_DID_MADE,
     {"That memory is this thread's cache: it lies apart from the heap, out of reach of overflows.",
      "这块内存用作本线程的缓存：它在堆之外，溢出碰不到。"}},
    {QY_AT_TCACHE,
     QY_DID_TOOK,
     {"{at} is taken from the thread cache, last in, first out.", "从 tcache 取出 {at}，后进先出。"}},
    {QY_AT_TCACHE,
     QY_DID_PUT,
     {"{at} ({n}) goes on top of its stack in the thread cache.",
      "{at}（{n}）压入 tcache 中对应大小的栈顶。"}},
    {QY_AT_TCACHE, QY_DID_FULL, {"The thread cache's stack for {n} is full.", "tcache 中 {n}的栈已满。"}},
    {QY_AT_TCACHE,
     QY_DID_EMPTIED,
     {"The older part of the stack ({n}) goes back to where its blocks came from.",
      "栈中较旧的一部分（{n}）退回原处。"}},
    {QY_AT_ARENA, QY_DID_MADE, {"A new arena, number {i}, is made.", "新建一个 arena（分配区），编号 {i}。"}},
    {QY_AT_ARENA, QY_DID_TOOK, {"This thread will use arena {i}.", "本线程从此使用 {i} 号 arena。"}},
    {QY_AT_ARENA,
     QY_DID_LEFT,
     {"The thread leaves arena {i}; another thread may use it.",
      "线程离开 {i} 号 arena，留给别的线程使用。"}},
    {QY_AT_INBOX,
     QY_DID_PUT,
     {"The arena is busy: {at} waits in its inbox.", "arena 正忙：{at} 先放进它的收件箱。"}},
    {QY_AT_INBOX, QY_DID_TOOK, {"{at} is taken out of the inbox.", "从收件箱取出 {at}。"}},
    {QY_AT_FAST_BIN, QY_DID_ASKED, {"Does the fast bin for {n} hold a block?", "{n}的 fast bin 里有块吗？"}},
    {QY_AT_FAST_BIN, QY_DID_TOOK, {"{at} is taken from the fast bin.", "从 fast bin 取出 {at}。"}},
    {QY_AT_FAST_BIN,
     QY_DID_PUT,
     {"{at} ({n}) goes into its fast bin; it is not merged, and its in-use mark stays.",
      "{at}（{n}）放进 fast bin：不合并，“使用中”标记也不清除。"}},
    {QY_AT_FAST_BIN,
     QY_DID_EMPTIED,
     {"Consolidation: every fast bin is emptied, and its chunks are merged.",
      "整理（consolidate）：清空所有 fast bin，合并其中的 chunk。"}},
    {QY_AT_SMALL_BIN,
     QY_DID_ASKED,
     {"Does the small bin for exactly {n} hold a chunk?", "恰好 {n}的 small bin 里有 chunk 吗？"}},
    {QY_AT_SMALL_BIN,
     QY_DID_TOOK,
     {"The oldest chunk of the small bin, {at}, is taken.", "取出 small bin 中最早放入的 chunk：{at}。"}},
    {QY_AT_UNSORTED_BIN,
     QY_DID_ASKED,
     {"Is there a chunk of exactly {n} in the unsorted bin? Each one looked at is sorted or taken.",
      "unsorted bin 里有恰好 {n}的 chunk 吗？看过的每一个要么取走，要么归类。"}},
    {QY_AT_UNSORTED_BIN, QY_DID_TOOK, {"{at} fits exactly and is taken.", "{at} 大小正好，取走。"}},
    {QY_AT_UNSORTED_BIN,
     QY_DID_PUT,
     {"{at} ({n}) goes into the unsorted bin.", "{at}（{n}）放进 unsorted bin。"}},
    {QY_AT_UNSORTED_BIN,
     QY_DID_SORTED,
     {"{at} ({n}) is sorted into the bin of its size.", "{at}（{n}）归入对应大小的 bin。"}},
    {QY_AT_LARGE_BIN,
     QY_DID_ASKED,
     {"Does the large bin of this size hold a chunk of at least {n}?",
      "这一档的 large bin 里有不小于 {n}的 chunk 吗？"}},
    {QY_AT_LARGER_BINS,
     QY_DID_ASKED,
     {"Does any bin for larger chunks hold one? The binmap says which.",
      "更大的 bin 里有 chunk 吗？查 binmap 位图便知。"}},
    {QY_AT_REMAINDER,
     QY_DID_TOOK,
     {"The last remainder, {at} ({n}), is cut again, so that neighbours in time become neighbours in memory.",
      "继续从上次切剩的块（last remainder）{at}（{n}）上切，先后申请的块便挨在一起。"}},
    {QY_AT_BLOCK,
     QY_DID_TOOK,
     {"The chunk {at} ({n}) is taken out of its bin.", "从 bin 中取出 chunk {at}（{n}）。"}},
    {QY_AT_BLOCK, QY_DID_SPLIT, {"It is split: {n} remain, at {at}.", "切开：还剩 {n}，位于 {at}。"}},
    {QY_AT_BLOCK,
     QY_DID_MERGED_BACK,
     {"Merged backward with the free chunk before it: {n} from {at}.",
      "与前面的空闲 chunk 合并：从 {at} 起共 {n}。"}},
    {QY_AT_BLOCK,
     QY_DID_MERGED_AHEAD,
     {"Merged forward with the free memory behind it: {n} from {at}.",
      "与后面的空闲内存合并：从 {at} 起共 {n}。"}},
    {QY_AT_BLOCK, QY_DID_MOVED, {"{n} are copied to the new block {at}.", "把 {n} 复制到新块 {at}。"}},
    {QY_AT_BLOCK,
     QY_DID_PURGED,
     {"Whole free pages ({n} from {at}) go back to the kernel.", "整页的空闲内存（{at} 起 {n}）还给内核。"}},
    {QY_AT_TOP, QY_DID_ASKED, {"Is top ({n}) large enough?", "top chunk（{n}）够大吗？"}},
    {QY_AT_TOP, QY_DID_TOOK, {"{n} are cut off the front of top: {at}.", "从 top 的前端切下 {n}：{at}。"}},
    {QY_AT_TOP,
     QY_DID_MERGED_BACK,
     {"It borders top and becomes part of it: top is now {n}.", "它紧邻 top，并入 top：top 现有 {n}。"}},
    {QY_AT_TOP, QY_DID_GREW, {"Top's segment grows by {n}.", "top 所在的段增长 {n}。"}},
    {QY_AT_TOP, QY_DID_TRIMMED, {"Top is trimmed: {n} go back to the kernel.", "修剪 top：{n} 还给内核。"}},
    {QY_AT_TOP,
     QY_DID_LEFT,
     {"The old top ({n}) is closed off and becomes free memory; a new top begins elsewhere.",
      "旧的 top（{n}）封口，变成普通空闲内存；新的 top 另起一处。"}},
    {QY_AT_SUBHEAP,
     QY_DID_MADE,
     {"A sub-heap at {at}: 64 MiB of addresses, {n} of them usable.",
      "在 {at} 建立 sub-heap：占 64 MiB 地址，其中 {n} 可用。"}},
    {QY_AT_SUBHEAP,
     QY_DID_GONE,
     {"The sub-heap at {at} is empty and is given back.", "{at} 处的 sub-heap 已空，还给内核。"}},
    {QY_AT_MAPPED, QY_DID_TOOK, {"{at} gets a mapping of its own: {n}.", "{at} 独占一个映射：{n}。"}},
    {QY_AT_MAPPED,
     QY_DID_GONE,
     {"The mapping of {at} ({n}) is removed at once.", "{at} 的映射（{n}）立即解除。"}},
    {QY_AT_MAPPED,
     QY_DID_MOVED,
     {"The mapping becomes {n}, at {at}: pages move, bytes are not copied.",
      "映射变为 {n}，位于 {at}：移动的是页，不复制内容。"}},
    {QY_AT_MAPPED,
     QY_DID_RAISED,
     {"The mmap threshold rises to {n}, the trim threshold to twice that: such blocks come from the heap from now on.",
      "mmap 阈值升到 {n}，修剪阈值升到它的两倍：以后这么大的块从堆里分配。"}},
    {QY_AT_RUN,
     QY_DID_TOOK,
     {"Cells ({n}) are taken from a run, the lowest address first: {at}.",
      "从 run 中取出若干格（{n}），地址低的在前：{at}。"}},
    {QY_AT_RUN,
     QY_DID_PUT,
     {"Cells ({n}, {at} among them) go back to their run.", "格（{n}，其中有 {at}）退回所属的 run。"}},
    {QY_AT_RUN, QY_DID_CARVED, {"A page of the run is cut into cells: {at}.", "把 run 的一页切成格：{at}。"}},
    {QY_AT_RUN,
     QY_DID_PURGED,
     {"An idle page of a run goes back to the kernel: {at}.", "run 中空闲的一页还给内核：{at}。"}},
    {QY_AT_ZONE,
     QY_DID_TOOK,
     {"A run of {n} is taken from the zone: {at}.", "从 zone 取一个 {n}的 run：{at}。"}},
    {QY_AT_ZONE,
     QY_DID_PUT,
     {"The run at {at} is empty and goes back to the zone.", "{at} 处的 run 已空，退回 zone。"}},
    {QY_AT_ZONE,
     QY_DID_PURGED,
     {"The memory of the free run at {at} goes back to the kernel.", "{at} 处空闲 run 的内存还给内核。"}},
    {QY_AT_KERNEL,
     QY_DID_REFUSED,
     {"The kernel says no. Everything kept for speed is given back, then it is tried once more.",
      "内核拒绝了。先交还所有为提速而留着的内存，再试一次。"}},
    {QY_AT_KERNEL,
     QY_DID_BRK,
     {"System call: brk moves the program break by {s} from {at}.",
      "系统调用 brk：程序断点从 {at} 移动 {s}。"}},
    {QY_AT_KERNEL, QY_DID_MMAP, {"System call: mmap, {n} at {at}.", "系统调用 mmap：在 {at} 映射 {n}。"}},
    {QY_AT_KERNEL,
     QY_DID_MUNMAP,
     {"System call: munmap, {n} at {at}.", "系统调用 munmap：解除 {at} 处 {n}的映射。"}},
    {QY_AT_KERNEL,
     QY_DID_MPROTECT,
     {"System call: mprotect makes {n} at {at} usable.", "系统调用 mprotect：使 {at} 处 {n} 可读写。"}},
    {QY_AT_KERNEL,
     QY_DID_MADVISE,
     {"System call: madvise gives the memory of {n} at {at} back; the addresses stay.",
      "系统调用 madvise：交还 {at} 处 {n}的物理内存，地址仍保留。"}},
    {QY_AT_KERNEL,
     QY_DID_ADVISED,
     {"System call: madvise says whether {n} at {at} shall come in huge pages.",
      "系统调用 madvise：告诉内核 {at} 处 {n}是否使用大页。"}},
    {QY_AT_KERNEL,
     QY_DID_POPULATED,
     {"System call: madvise makes {n} at {at} resident, before a page fault for each page would.",
      "系统调用 madvise：一次使 {at} 处 {n}常驻内存，免去逐页缺页。"}},
    {QY_AT_KERNEL,
     QY_DID_MREMAP,
     {"System call: mremap, {n} at {at}.", "系统调用 mremap：变为 {at} 处的 {n}。"}},
};

/* What mmap and mremap say when they fail is no address. */
static const char *const failed_mapping[] = {"System call: the kernel refuses {n}.",
                                             "系统调用：内核拒绝了 {n}。"};

static const char *const store_names[] = {
#define NAME(name, text) text,
    QY_PROBE_STORES(NAME)};
static const char *const did_names[] = {QY_PROBE_DIDS(NAME)};
#undef NAME

const char *tell_store(const struct qy_probe_event *event)
{
    return store_names[event->store];
}

const char *tell_did(const struct qy_probe_event *event)
{
    return did_names[event->did];
}

bool tell_answer(const struct step *step, size_t event)
{
    enum qy_probe_store asked = step->events[event].store;
    if (asked == QY_AT_GATE) { /* it lets the call through, or ends the process */
        for (size_t i = event + 1; i < step->event_count; i++)
            if (step->events[i].did == QY_DID_REFUSED)
                return false;
        return true;
    }
    for (size_t i = event + 1; i < step->event_count; i++) {
        const struct qy_probe_event *e = &step->events[i];
        if (e->did == QY_DID_ASKED)
            return false;
        if (e->did != QY_DID_TOOK)
            continue;
        if (e->store == asked)
            return true;
        if (asked == QY_AT_UNSORTED_BIN && e->store == QY_AT_REMAINDER)
            return true;
        if ((asked == QY_AT_LARGE_BIN || asked == QY_AT_LARGER_BINS) && e->store == QY_AT_BLOCK)
            return true;
    }
    return false;
}

const char *tell_name(const struct play *play, size_t step, uint64_t address)
{
    for (size_t i = step + 1; address && i-- > 0;) {
        const struct step *s = &play->steps[i];
        if (s->statement->kind == RESTART)
            return NULL;
        if (s->statement->variable && (s->reply.result == address || s->reply.result == address + 16))
            return s->statement->variable;
    }
    return NULL;
}

static void add(struct sentence *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct sentence *s, const char *format, ...)
{
    size_t used = strlen(s->text);
    va_list args;
    va_start(args, format);
    vsnprintf(s->text + used, sizeof s->text - used, format, args);
    va_end(args);
}

static void add_bytes(struct sentence *s, uint64_t n, enum language in)
{
    if (n >= (1u << 20) && n % (1u << 20) == 0)
        add(s, "%" PRIu64 " MiB", n >> 20);
    else if (n >= 10240 && n % 1024 == 0)
        add(s, "%" PRIu64 " KiB", n >> 10);
    else
        add(s, in == CHINESE ? "%" PRIu64 " 字节" : n == 1 ? "%" PRIu64 " byte" : "%" PRIu64 " bytes", n);
}

static void add_signed_bytes(struct sentence *s, int64_t n, enum language in)
{
    add(s, n < 0 ? "-" : "+");
    add_bytes(s, n < 0 ? -(uint64_t)n : (uint64_t)n, in);
}

static void add_block(struct sentence *s, const struct play *play, size_t step, uint64_t at)
{
    const char *name = tell_name(play, step, at);
    if (name)
        add(s, "%s", name);
    else
        add(s, "0x%" PRIx64, at);
}

struct sentence tell_event(const struct play *play, size_t step, size_t event, enum language in)
{
    const struct qy_probe_event *e = &play->steps[step].events[event];
    struct sentence s = {""};
    const char *text = NULL;
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
        if (sentences[i].store == e->store && sentences[i].did == e->did)
            text = sentences[i].text[in];
    if (e->store == QY_AT_KERNEL && e->at == UINT64_MAX)
        text = failed_mapping[in];
    if (!text) {
        add(&s, "%s: %s", tell_store(e), tell_did(e));
        return s;
    }
    while (*text) {
        int plain = (int)strcspn(text, "{");
        add(&s, "%.*s", plain, text);
        text += plain;
        if (!*text)
            break;
        if (strncmp(text, "{at}", 4) == 0) {
            if (e->store == QY_AT_KERNEL)
                add(&s, "0x%" PRIx64, e->at);
            else
                add_block(&s, play, step, e->at);
            text += 4;
            continue;
        }
        if (text[1] == 'n')
            add_bytes(&s, e->bytes, in);
        else if (text[1] == 's')
            add_signed_bytes(&s, (int64_t)e->bytes, in);
        else
            add(&s, "%" PRIu64, e->bytes);
        text += 3;
    }
    return s;
}

struct sentence tell_result(const struct play *play, size_t step, enum language in)
{
    const struct step *st = &play->steps[step];
    const struct statement *said = st->statement;
    struct sentence s = {""};
    if (st->reply.signal && said->kind == CALL) {
        add(&s, in == CHINESE ? "进程终止：SIG%s。" : "The process ends: SIG%s.",
            sigabbrev_np(st->reply.signal));
    } else if (said->kind == CALL && st->reply.error) {
        const char *name = strerrorname_np(st->reply.error);
        add(&s, in == CHINESE ? "失败，errno = %s。" : "It fails, errno = %s.", name ? name : "?");
    } else if (said->variable) {
        bool is_address = said->call != PLAY_USABLE && said->call != PLAY_TRIM && said->call != PLAY_MALLOPT;
        add(&s, is_address ? "%s = 0x%" PRIx64 : "%s = %" PRIu64, said->variable, st->reply.result);
    }
    return s;
}
