/* Every word of the player's own. What the allocator did is said by the file itself, in both languages. */
export const words = {
  en: {
    lesson: 'Lesson', script: 'Script', step: 'Step', heap: 'Heap', path: 'Path of this call', kernel: 'Kernel', lists: 'Bins and caches',
    first: 'First step', back: '◀ Back', next: 'Next ▶', last: 'Last step', slider: 'Step', language: '中文', languageLabel: '换成中文',
    dark: 'Dark', light: 'Light', covers: 'Mechanisms {list}', stepOf: '{n} / {all}', thread: 'thread {n}:', profile: 'profile: {name}',
    noPath: 'Malloc was not called in this step.', noEvent: 'Nothing was looked for, taken or put: the call was done at once.', notRecorded: 'and {n} more, which were not recorded', noKernel: 'No system call, no page fault.', noBins: 'All empty.', noBlocks: 'No chunk yet: malloc has not asked the kernel for memory.',
    systemCalls: 'System calls', faults: 'Page faults', faultNote: 'pages of the heap that are in memory now and were not before',
    block: 'block', at: 'chunk at', header: 'header: size, and A M P', prevSize: 'prev_size', links: 'fd → bk', binHead: 'bin', state: 'state', bytes: 'bytes',
    user: "the neighbour's data", yes: 'yes', no: 'no', cache: 'cache of thread {n}', cacheOrphan: 'cache without a thread', arena: 'arena {n}',
    tcache: 'tcache', cells: 'cells', fast: 'fast bin', unsorted: 'unsorted bin', small: 'small bin', large: 'large bin', inbox: 'inbox', cell: 'cell of {n}',
    'state.in use': 'in use', 'state.binned': 'free, in a bin', 'state.unsorted': 'free, unsorted', 'state.in a run': 'free, in its run', 'state.not carved': 'not carved', 'state.fast': 'free, fast bin', 'state.cached': 'free, cached',
    'state.inbox': 'free, inbox', 'state.top': 'top', 'state.fence': 'fencepost', 'state.mapped': 'mapped', 'state.broken': 'damaged', 'state.moving': 'free, its links written over', more: 'and {n} more, unchanged',
    picture: 'The heap to scale. Arrow keys of the page step; here they pan.', broken: 'This page holds no play.',
  },
  zh: {
    lesson: '课程', script: '脚本', step: '步骤', heap: '堆', path: '这次调用的路径', kernel: '内核', lists: '各个 bin 与缓存',
    first: '第一步', back: '◀ 后退', next: '前进 ▶', last: '最后一步', slider: '步骤', language: 'English', languageLabel: 'Switch to English',
    dark: '深色', light: '浅色', covers: '涉及机制 {list}', stepOf: '{n} / {all}', thread: '线程 {n}：', profile: '配置：{name}',
    noPath: '这一步没有调用 malloc。', noEvent: '没有查找、取出或放回任何东西：调用立即完成。', notRecorded: '另有 {n} 个事件没有记录', noKernel: '没有系统调用，也没有缺页。', noBins: '全是空的。', noBlocks: '还没有 chunk：malloc 还没向内核要过内存。',
    systemCalls: '系统调用', faults: '缺页', faultNote: '堆中这一步新出现在物理内存里的页',
    block: '块', at: 'chunk 地址', header: '头部：大小与 A M P', prevSize: 'prev_size', links: 'fd → bk', binHead: 'bin', state: '状态', bytes: '字节',
    user: '归前一块的数据', yes: '有', no: '没有', cache: '线程 {n} 的缓存', cacheOrphan: '没有线程的缓存', arena: 'arena {n}',
    tcache: 'tcache', cells: '格', fast: 'fast bin', unsorted: 'unsorted bin', small: 'small bin', large: 'large bin', inbox: '收件箱', cell: '{n} 字节的格',
    'state.in use': '使用中', 'state.binned': '空闲，在 bin 里', 'state.unsorted': '空闲，unsorted', 'state.in a run': '空闲，在 run 里', 'state.not carved': '尚未切出', 'state.fast': '空闲，fast bin', 'state.cached': '空闲，在缓存里',
    'state.inbox': '空闲，收件箱', 'state.top': 'top', 'state.fence': '栅栏', 'state.mapped': '独占映射', 'state.broken': '已损坏', 'state.moving': '空闲，链表指针被改写', more: '另有 {n} 块没有变化',
    picture: '按比例画出的堆。方向键在页面上是换步，在图上是平移。', broken: '这个页面里没有内容。',
  },
};

export function wordsOf(lang) {
  const own = words[lang] ?? words.en;
  return (key, values = {}) => (own[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}
