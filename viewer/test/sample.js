/*
 * Makes a snapshot as `quarry snapshot --json` writes it, of any size and always the same for the same arguments, with a heap that
 * keeps the allocator's rules: no two free chunks are neighbours, P and prev_size agree, the figures add up.
 *
 *     node viewer/test/sample.js [--chunks N] [--runs N] [--broken] > FILE
 */
const PAGE = 4096;
const RUN = 65536;
const MiB = 1 << 20;
const HEAP = 0x555555559000;
const ZONE = 0x240000000000;
const SUBHEAP = 0x7ffe8c000000;

function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const base64 = (bytes) => Buffer.from(bytes).toString('base64');

export function sample({ chunks = 4000, runs = 60, broken = false, seed = 7 } = {}) {
  const rand = random(seed);
  const states = ['in use', 'binned', 'unsorted', 'fast', 'cached', 'inbox', 'top', 'fence', 'mapped', 'broken', 'moving'];
  const S = Object.fromEntries(states.map((s, i) => [s, i]));
  const col = { at: [], size: [], prev_size: [], tags: [], state: [], arena: [], fd: [], bk: [] };
  const figures = Object.fromEntries(
    ['live', 'rounding', 'cached', 'free_cells', 'fast', 'binned', 'top', 'uncarved', 'free_runs', 'metadata'].map((k) => [k, { bytes: 0, resident: 0, count: 0 }]),
  );
  const count = (name, bytes, resident = bytes) => {
    figures[name].bytes += bytes;
    figures[name].resident += Math.round(resident);
    figures[name].count++;
  };
  const segments = [];
  const maps = [];
  const bins = new Map();
  const chunkStacks = new Map();
  const absolute = [];
  const push = (at, size, tags, state, arena, prev = 0) => {
    absolute.push(at);
    col.size.push(size);
    col.prev_size.push(prev);
    col.tags.push(tags);
    col.state.push(S[state]);
    col.arena.push(arena);
    col.fd.push(0);
    col.bk.push(0);
    return absolute.length - 1;
  };
  const pagesOf = (bytes, share) => {
    const n = Math.ceil(bytes / PAGE);
    const out = new Uint8Array(Math.ceil(n / 4));
    let state = 1;
    for (let i = 0; i < n; i++) {
      if (rand() < 0.06) state = rand() < share ? 1 : rand() < 0.2 ? 2 : 0;
      out[i >> 2] |= (bytes > 8 * MiB && i < 1024 ? 3 : state) << ((i & 3) * 2);
    }
    return base64(out);
  };

  const sizeOf = () => {
    const r = rand();
    if (r < 0.5) return 1040 + 16 * Math.floor(rand() * 64);
    if (r < 0.85) return 2048 + 16 * Math.floor(rand() * 400);
    if (r < 0.97) return 32 + 16 * Math.floor(rand() * 60);
    return 16384 + 16 * Math.floor(rand() * 4000);
  };
  const binOf = (size) => {
    if (size < 1024) return ['small', size / 16, size, size];
    const k = 1 + Math.min(120, Math.floor(Math.log2(size / 1024) * 8));
    return ['large', 63 + k, Math.ceil(1024 * 2 ** ((k - 1) / 8)), Math.ceil(1024 * 2 ** (k / 8)) - 16];
  };

  function segment(from, arena, wanted, top) {
    let at = from;
    let prevFree = 0;
    for (let i = 0; i < wanted; i++) {
      const size = sizeOf();
      const r = rand();
      const wave = 0.5 + 0.5 * Math.sin(i / 140);
      let state = 'in use';
      if (!prevFree && r < 0.22 * wave) state = rand() < 0.15 ? 'unsorted' : 'binned';
      else if (r > 0.6 && size <= 176) state = 'fast';
      else if (r > 0.95 && size <= 32768) state = 'cached';
      else if (r > 0.947 && arena > 0) state = 'inbox';
      const index = push(at, size, (prevFree ? 0 : 1) | (arena ? 4 : 0), state, arena, prevFree);
      prevFree = 0;
      if (state === 'binned' || state === 'unsorted') {
        prevFree = size;
        count('binned', size, size * 0.6);
        const [kind, bin, lo, hi] = state === 'unsorted' ? ['unsorted', 1, 32, null] : binOf(size);
        const key = `${arena} ${kind} ${bin}`;
        if (!bins.has(key)) bins.set(key, { arena, kind, index: bin, from: lo, to: hi, members: [] });
        bins.get(key).members.push(index);
      } else if (state === 'fast' || state === 'inbox') {
        count(state === 'fast' ? 'fast' : 'cached', size);
        const key = `${arena} ${state} ${state === 'fast' ? size / 16 : 0}`;
        if (!bins.has(key)) bins.set(key, { arena, kind: state, index: state === 'fast' ? size / 16 : 0, from: state === 'fast' ? size : 32, to: state === 'fast' ? size : null, members: [] });
        bins.get(key).members.push(index);
      } else if (state === 'cached') {
        count('cached', size);
        const cls = Math.min(145, Math.floor(size / 64));
        const key = `${arena} ${cls}`;
        if (!chunkStacks.has(key)) chunkStacks.set(key, { arena, cls, from: cls * 64, members: [] });
        const stack = chunkStacks.get(key);
        if (stack.members.length < 16) stack.members.push(at + 16);
        else col.state[index] = S['in use'];
      } else {
        const waste = 8 + Math.floor(rand() * 16);
        figures.rounding.bytes += waste;
        figures.rounding.resident += waste;
        count('live', size - waste);
      }
      at += size;
    }
    const end = Math.ceil((at + top) / PAGE) * PAGE;
    const topIndex = push(at, end - at, (prevFree ? 0 : 1) | (arena ? 4 : 0), 'top', arena, prevFree);
    count('top', end - at, Math.min(end - at, 3 * PAGE));
    return { end, top: absolute[topIndex] };
  }

  // Text, data, bss.
  const exe = '/usr/bin/redis-server';
  maps.push(
    { from: 0x555555000000 - 0x200000, to: 0x555555000000 - 0x160000, perms: 'r--p', name: exe, kind: 'text' },
    { from: 0x555555000000 - 0x160000, to: 0x555555000000 - 0x20000, perms: 'r-xp', name: exe, kind: 'text' },
    { from: 0x555555000000 - 0x20000, to: 0x555555000000, perms: 'rw-p', name: exe, kind: 'data' },
    { from: 0x555555000000, to: 0x555555028000, perms: 'rw-p', name: '', kind: 'bss' },
  );
  const inSubheap = Math.min(Math.floor(chunks * 0.15), 12000);
  const main = segment(HEAP, 0, chunks - 2 * inSubheap, 120 * 1024);
  const total = (from, to) => to - from;
  maps.push({ from: HEAP, to: main.end, perms: 'rw-p', name: '[heap]', kind: 'heap' });
  segments.push({ from: HEAP, to: main.end, kind: 'break', arena: 0, pages: pagesOf(total(HEAP, main.end), 0.75) });

  // The zone: runs of equal cells.
  const strides = [16, 32, 48, 48, 64, 80, 96, 128, 144, 208, 256, 400, 512, 1024];
  const runList = [];
  const cellStacks = new Map();
  for (let r = 0; r < runs; r++) {
    const at = ZONE + r * RUN;
    const cls = strides[Math.floor(rand() * strides.length)] / 16;
    const stride = cls * 16;
    if (rand() < 0.06) {
      const purged = rand() < 0.5;
      runList.push({ at, owner: null, state: purged ? 'purged' : 'dirty', carved: 0 });
      count('free_runs', RUN, purged ? 0 : RUN);
      continue;
    }
    const pow = stride & -stride;
    const first = Math.ceil(8 / pow) * pow;
    const cells = Math.floor((RUN - first) / stride);
    const owner = Math.floor(rand() * 3);
    const pages = rand() < 0.3 ? Math.floor(rand() * 16) + 1 : 16;
    const free = new Uint8Array(Math.ceil(cells / 8));
    const remote = new Uint8Array(free.length);
    const cached = new Uint8Array(free.length);
    const available = new Uint8Array(free.length);
    const density = rand();
    let used = 0;
    for (let i = 0; i < cells; i++) {
      const header = first - 8 + i * stride;
      if ((header + stride) >> 12 >= pages) continue;
      used += stride;
      available[i >> 3] |= 1 << (i & 7);
      const x = rand();
      if (x < 0.02) remote[i >> 3] |= 1 << (i & 7), count('free_cells', stride);
      else if (x < 0.05) {
        const key = `${owner} ${cls}`;
        if (!cellStacks.has(key)) cellStacks.set(key, { owner, cls, blocks: [] });
        const stack = cellStacks.get(key);
        if (stack.blocks.length < 64) {
          stack.blocks.push(at + first + i * stride);
          cached[i >> 3] |= 1 << (i & 7);
          count('cached', stride);
          continue;
        }
        figures.rounding.bytes += 8;
        count('live', stride - 8);
      } else if (x < 0.05 + 0.6 * density * (0.5 + 0.5 * Math.sin(i / 40))) free[i >> 3] |= 1 << (i & 7), count('free_cells', stride);
      else {
        const waste = 8 + Math.floor(rand() * 8);
        figures.rounding.bytes += waste;
        figures.rounding.resident += waste;
        count('live', stride - waste);
      }
    }
    count('uncarved', RUN - used, 0);
    runList.push({ at, class: cls, stride, first, cells, owner, state: 'owned', carved: 2 ** pages - 1, available: base64(available), moving: '', free: base64(free), remote: base64(remote), cached: base64(cached) });
  }
  if (runs) {
    const end = ZONE + Math.ceil(runs / 32) * 32 * RUN;
    maps.push({ from: ZONE, to: end, perms: 'rw-p', name: '[anon:quarry runs]', kind: 'quarry' });
    segments.push({ from: ZONE, to: end, kind: 'runs', arena: null, pages: pagesOf(end - ZONE, 0.9) });
    count('uncarved', end - ZONE - runs * RUN, 0);
    maps.push({ from: ZONE + 2 ** 37, to: ZONE + 2 ** 37 + 2 * MiB, perms: 'rw-p', name: '[anon:quarry descriptors]', kind: 'quarry' });
    segments.push({ from: ZONE + 2 ** 37, to: ZONE + 2 ** 37 + 2 * MiB, kind: 'run descriptors', arena: null, pages: null });
    count('metadata', 2 * MiB, runs * 640);
  }

  // Two arenas in sub-heaps, and what has a mapping of its own.
  const arenas = [{ address: 0x7ffff7fa1c80, main: true, threads: 1, locked: false, top: main.top, last_remainder: null, system: main.end - HEAP, max_system: main.end - HEAP, subheaps: [] }];
  for (let a = 1; a <= 2; a++) {
    const base = SUBHEAP + a * 0x4000000;
    const made = segment(base + 0x8c0, a, inSubheap, 60 * 1024);
    maps.push({ from: base, to: made.end, perms: 'rw-p', name: '[anon:quarry arena]', kind: 'quarry' });
    maps.push({ from: made.end, to: Math.max(made.end + PAGE, base + 0x4000000), perms: '---p', name: '[anon:quarry arena]', kind: 'quarry' });
    segments.push({ from: base, to: made.end, kind: 'subheap', arena: a, pages: pagesOf(made.end - base, 0.6) });
    count('metadata', 0x8c0);
    arenas.push({ address: base + 0x40, main: false, threads: 1, locked: a === 2, top: made.top, last_remainder: null, system: made.end - base, max_system: made.end - base, subheaps: [segments.length - 1] });
  }
  let mappedAt = 0x7ffff0000000;
  for (let i = 0; i < 5; i++) {
    const size = PAGE * (35 + Math.floor(rand() * 400));
    push(mappedAt, size, 2, 'mapped', 0);
    maps.push({ from: mappedAt, to: mappedAt + size, perms: 'rw-p', name: '[anon:quarry mapped]', kind: 'quarry' });
    segments.push({ from: mappedAt, to: mappedAt + size, kind: 'mapped', arena: null, pages: pagesOf(size, 0.4) });
    count('live', size - 16, size * 0.5);
    figures.rounding.bytes += 16;
    mappedAt += size + PAGE * 3;
  }
  let lib = 0x7ffff4000000;
  for (const name of ['libcrypto.so.3', 'libssl.so.3', 'libm.so.6', 'libjemalloc.so.2', 'libsystemd.so.0', 'libstdc++.so.6', 'libc.so.6', 'libquarry.so.1', 'ld-linux-x86-64.so.2']) {
    const text = PAGE * (20 + Math.floor(rand() * 600));
    maps.push({ from: lib, to: lib + text, perms: 'r-xp', name: `/usr/lib/x86_64-linux-gnu/${name}`, kind: 'text' });
    maps.push({ from: lib + text, to: lib + text + 5 * PAGE, perms: 'r--p', name: `/usr/lib/x86_64-linux-gnu/${name}`, kind: 'data' });
    maps.push({ from: lib + text + 5 * PAGE, to: lib + text + 9 * PAGE, perms: 'rw-p', name: `/usr/lib/x86_64-linux-gnu/${name}`, kind: 'data' });
    lib += text + 16 * PAGE;
  }
  for (let t = 1; t < 3; t++)
    maps.push({ from: 0x7ffff6000000 + t * 0x900000, to: 0x7ffff6000000 + t * 0x900000 + 8 * MiB, perms: 'rw-p', name: `[stack:${4120 + t}]`, kind: 'stack', resident: 12 * PAGE });
  maps.push({ from: 0x7ffff7fc1000, to: 0x7ffff7fc5000, perms: 'r--p', name: '[vvar]', kind: 'vdso' });
  maps.push({ from: 0x7ffff7fc5000, to: 0x7ffff7fc7000, perms: 'r-xp', name: '[vdso]', kind: 'vdso' });
  maps.push({ from: 0x7ffffffde000, to: 0x7ffffffff000, perms: 'rw-p', name: '[stack]', kind: 'stack', resident: 9 * PAGE });
  for (const m of maps) {
    m.resident ??= Math.floor(((m.to - m.from) / PAGE) * (0.3 + 0.6 * rand())) * PAGE;
    m.swapped = 0;
    m.huge = 0;
  }

  const binList = [...bins.values()].map((b) => {
    const order = b.kind === 'large' ? b.members.sort((x, y) => col.size[x] - col.size[y]) : b.members.reverse();
    order.forEach((chunk, i) => {
      col.fd[chunk] = i + 1 < order.length ? absolute[order[i + 1]] : arenas[b.arena].address + 96;
      if (b.kind === 'fast') col.fd[chunk] = Number((BigInt(absolute[chunk] + 16) >> 12n) ^ BigInt(i + 1 < order.length ? absolute[order[i + 1]] : 0));
      if (b.kind !== 'fast' && b.kind !== 'inbox') col.bk[chunk] = i ? absolute[order[i - 1]] : arenas[b.arena].address + 96;
    });
    return { arena: b.arena, kind: b.kind, index: b.index, from: b.from, to: b.to, chunks: order.map((i) => absolute[i]) };
  });
  const caches = [0, 1, 2].map((i) => ({
    address: 0x7ffff7d00000 + i * 0x40000, tid: i < 2 ? 4120 + i : null, orphan: i === 2, host: i, arena: i,
    cells: [...cellStacks.values()].filter((s) => s.owner === i).map((s) => ({ class: s.cls, stride: s.cls * 16, limit: 64, blocks: s.blocks })),
    chunks: [...chunkStacks.values()].filter((s) => s.arena === i).map((s) => ({ class: s.cls, from: s.from, limit: 16, blocks: s.members })),
  }));
  const order = [...absolute.keys()].sort((a, b) => absolute[a] - absolute[b]);
  const sorted = (name) => order.map((i) => col[name][i]);
  let before = 0;
  col.at = order.map((i) => {
    const delta = absolute[i] - before;
    before = absolute[i];
    return delta;
  });
  for (const name of ['size', 'prev_size', 'tags', 'state', 'arena', 'fd', 'bk']) {
    const values = sorted(name);
    col[name] = values;
  }
  const findings = [];
  if (broken) {
    const i = Math.floor(chunks * 0.3);
    col.state[i] = S.broken;
    const address = absolute[order[i]];
    findings.push({ address, check: 'size does not lead to a chunk', text: `chunk ${address.toString(16)}: the size word is 0x4141414141414141` });
  }
  const sum = Object.values(figures).reduce((t, f) => ({ bytes: t.bytes + f.bytes, resident: t.resident + f.resident }), { bytes: 0, resident: 0 });
  return {
    format: 'quarry-snapshot', version: 1, taken_at: '2026-11-21T14:00:00Z', stopped_us: 1830, stops: 1, busy: false, headers_read: true, source: 'process',
    process: { pid: 4120, command: 'redis-server', executable: exe, page_size: PAGE, threads: [{ tid: 4120, name: 'redis-server', cache: 0 }, { tid: 4121, name: 'bio_close', cache: 1 }] },
    library: { version: '0.1.0', profile: 'default', options: { run_max: 1016, decay: 500 }, defaults: { run_max: 1016, decay: 1000 } },
    figures: { mapped: { ...sum, count: segments.length }, ...figures },
    findings_left_out: 0, maps, break: main.end, segments, arenas, states, chunks: col, bins: binList, runs: runList, caches, findings,
  };
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').pop())) {
  const value = (name) => {
    const i = process.argv.indexOf(name);
    return i < 0 ? undefined : Number(process.argv[i + 1]);
  };
  process.stdout.write(JSON.stringify(sample({ chunks: value('--chunks'), runs: value('--runs'), broken: process.argv.includes('--broken') })));
}
