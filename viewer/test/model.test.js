/* The parts that need no browser. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Axis } from '../src/axis.js';
import { modes, palette, rgb } from '../src/colours.js';
import { find, nextFound, parseSearch, SearchError } from '../src/search.js';
import { CELL, readSnapshot, SnapshotError, STATES } from '../src/snapshot.js';
import { Sums } from '../src/sums.js';
import { languages, texts } from '../src/texts/index.js';
import { describe, titleOf, wordsOf } from '../src/describe.js';
import { sample } from './sample.js';

const json = sample({ chunks: 3000, runs: 24 });
const model = readSnapshot(JSON.stringify(json));
const axis = new Axis(model);

test('what is no snapshot is refused in one line', () => {
  const cases = [
    ['{', /not JSON/],
    ['[]', /not a quarry-snapshot/],
    ['{"format":"quarry-play","version":1}', /not a quarry-snapshot/],
    [JSON.stringify({ ...json, version: 2 }), /version 2/],
    [JSON.stringify({ ...json, chunks: { ...json.chunks, size: [1] } }), /chunks\.size has 1 entries/],
    [JSON.stringify({ ...json, segments: [{ from: 1, to: 2, pages: '*' }] }), /base64/],
  ];
  for (const [text, why] of cases) assert.throws(() => readSnapshot(text), (e) => e instanceof SnapshotError && why.test(e.message) && !e.message.includes('\n'));
});

test('a snapshot of nothing is a model', () => {
  const empty = readSnapshot({ format: 'quarry-snapshot', version: 1 });
  assert.equal(empty.itemAt(4096), null);
  assert.ok(new Axis(empty).length > 0);
});

test('chunks out of order and lists of blocks that do not exist are survived', () => {
  const bad = readSnapshot({
    format: 'quarry-snapshot', version: 1, states: ['in use'], segments: [{ from: 4096, to: 8192, kind: 'break', arena: 9 }],
    chunks: { at: [4160, -64], size: [32, 64], tags: [1, 1], state: [0, 99], arena: [0, 0] },
    bins: [{ arena: 3, kind: 'small', index: 2, from: 32, to: 32, chunks: [1, 2, 3] }], runs: [{ at: 65536, class: 2, stride: 32, first: 16, cells: 9, owner: 7, carved: 1, free: '' }],
  });
  assert.deepEqual([...bad.chunks.at], [4096, 4160]);
  assert.equal(STATES[bad.chunks.state[0]], 'broken');
  assert.equal(titleOf(bad, { kind: 'run', index: 0 }, texts('en')), 'Run · 9 × 32 B · cache 7');
});

test('an address leads to the block that holds it, and only to that', () => {
  const { chunks } = model;
  for (let i = 0; i < chunks.count; i += 7) {
    assert.deepEqual(model.blockAt(chunks.at[i]), { kind: 'chunk', index: i });
    assert.deepEqual(model.blockAt(chunks.at[i] + chunks.size[i] - 1), { kind: 'chunk', index: i });
  }
  const r = model.runs.findIndex((run) => run.owner !== null);
  const run = model.runs[r];
  const mem = run.at + run.first + 5 * run.stride;
  assert.deepEqual(model.blockAt(mem), { kind: 'cell', run: r, index: 5 });
  assert.deepEqual(model.blockAt(mem - 8), { kind: 'cell', run: r, index: 5 });
  assert.deepEqual(model.blockAt(mem - 9), { kind: 'cell', run: r, index: 4 });
});

test('cells are what the bitmaps say', () => {
  for (const [r, run] of model.runs.entries()) {
    if (run.owner === null) continue;
    const bits = (name) => (i) => (Buffer.from(run[name], 'base64')[i >> 3] >> (i & 7)) & 1;
    const [available, free, remote, cached] = ['available', 'free', 'remote', 'cached'].map(bits);
    for (const [i, state] of model.cellsOf(r).entries()) {
      const expected = !available(i) ? CELL.uncarved : cached(i) ? CELL.cached : remote(i) ? CELL.remote : free(i) ? CELL.free : CELL.inUse;
      assert.equal(state, expected);
    }
  }
});

test('every block in a list says so, in its place', () => {
  for (const [number, list] of model.lists.entries())
    for (const [place, address] of list.blocks.entries()) {
      const item = model.blockAt(address);
      const found = item.kind === 'chunk' ? { list: model.chunks.list[item.index], place: model.chunks.place[item.index] } : model.cellLists.get(address);
      assert.deepEqual(found, { list: number, place });
    }
});

test('addresses and positions: exact in the heap, in order everywhere', () => {
  for (let i = 0; i < model.leaves.count; i++) assert.equal(axis.toAddress(axis.toU(model.leaves.from[i])), model.leaves.from[i]);
  for (let i = 1; i < axis.pieces.length; i++) {
    assert.ok(axis.pieces[i].u > axis.pieces[i - 1].u);
    assert.equal(axis.pieces[i].from, axis.pieces[i - 1].to);
  }
  assert.ok(axis.pieces.every((p) => !p.region?.heap || p.scale === 1));
});

test('sums between two positions are those of a walk', () => {
  const { leaves } = model;
  const u0 = Float64Array.from(leaves.from, (a) => axis.toU(a));
  const u1 = Float64Array.from(leaves.to, (a) => axis.toU(a));
  for (const name of ['state', 'class', 'arena']) {
    const n = modes[name].buckets(model).length;
    const sums = new Sums(model, modes[name], n, { count: leaves.count, ref: leaves.ref, u0, u1 });
    let hint = 0;
    for (let k = 0; k < 400; k++) {
      const a = (axis.length * k) / 400;
      const b = a + axis.length / (3 + ((k * 37) % 900));
      const got = new Float64Array(n);
      hint = sums.between(a, b, got, k % 3 ? hint : 0);
      const want = new Float64Array(n);
      for (let i = 0; i < leaves.count; i++) {
        const inside = Math.min(u1[i], b) - Math.max(u0[i], a);
        if (inside > 0) sums.addLeaf(i, inside / (u1[i] - u0[i]), want);
      }
      for (let i = 0; i < n; i++) assert.ok(Math.abs(got[i] - want[i]) < 1, `${name} ${k} ${i}: ${got[i]} ${want[i]}`);
    }
  }
});

test('search finds what a walk finds', () => {
  const states = json.states;
  const chunksThat = (f) => json.chunks.size.filter((size, i) => f(states[json.chunks.state[i]], size, json.chunks.arena[i])).length;
  let cells = 0;
  for (const [r] of model.runs.entries()) for (const state of model.cellsOf(r)) if (state === CELL.cached) cells++;
  const count = (text) => find(model, parseSearch(text, model)).count;
  assert.equal(count('state:cached kind:chunk'), chunksThat((s) => s === 'cached'));
  assert.equal(count('state:cached kind:cell'), cells);
  assert.equal(count('state:cached'), cells + chunksThat((s) => s === 'cached'));
  assert.equal(count('size:>16K kind:chunk'), chunksThat((s, size) => size > 16384));
  assert.equal(count('size:1K..4K state: unsorted arena:0'), chunksThat((s, size, a) => s === 'unsorted' && size >= 1024 && size <= 4096 && a === 0));
  assert.equal(count('state:in use size:<=64 kind:chunk'), chunksThat((s, size) => s === 'in use' && size <= 64));
  assert.deepEqual(parseSearch('0x5555deadbeef', model), { address: 0x5555deadbeef });
  assert.deepEqual(parseSearch('7fff0000', model), { address: 0x7fff0000 });
  for (const text of ['nonsense', 'size:big', 'state:lost', 'arena:x', 'kind:run', 'colour:red']) assert.throws(() => parseSearch(text, model), SearchError);
});

test('a free chunk whose links were written over is in no list, and its links are shown to the last bit', () => {
  const damaged = readSnapshot(JSON.stringify({
    format: 'quarry-snapshot', version: 1, states: ['in use', 'moving'], segments: [{ from: 4096, to: 8192, kind: 'break', arena: 0 }], arenas: [{ address: 65536, main: true }],
    chunks: { at: [4096, 64, 64], size: [64, 64, 3968], tags: [1, 1, 0], state: [0, 1, 0], arena: [0, 0, 0], prev_size: [0, 0, 64], fd: [0, '0x4141414141414141', 0], bk: [0, 65632, 0] },
    maps: [{ from: 4096, to: 8192, perms: 'rw-p', name: '[heap]', kind: 'heap' }, { from: '0xffffffffff600000', to: '0xffffffffff601000', perms: '--xp', name: '[vsyscall]', kind: 'vdso' }],
  }));
  const t = texts('en');
  const item = { kind: 'chunk', index: 1 };
  const bucket = modes.state.buckets(damaged)[modes.state.chunk(damaged, 1)];
  assert.equal(t(`colour.${bucket.key}`), 'free, in no list');
  assert.equal(titleOf(damaged, item, t), '64 B, free, in no list');
  const said = describe(damaged, item, t).flatMap((s) => s.rows ?? []);
  assert.equal(said.find((r) => r.label === 'fd').value, '0x4141414141414141 · no chunk is there');
  assert.equal(wordsOf(damaged, item, t).find((w) => w.label === 'fd').value, '0x4141414141414141');
  const kernel = damaged.itemAt(parseSearch('0xffffffffff600800', damaged).address);
  assert.equal(kernel.kind, 'map');
  assert.equal(describe(damaged, kernel, t)[0].rows.find((r) => r.label === t('to')).value, '0xffffffffff601000');
  const far = new Axis(damaged);
  assert.equal(far.toAddress(far.toU(0xffffffffff600000)), 0xffffffffff600000);
});

test('going from hit to hit meets each once and comes round', () => {
  const found = find(model, parseSearch('state:unsorted', model));
  for (const step of [1, -1]) {
    const seen = new Set();
    let item = null;
    for (let i = 0; i < found.count; i++) seen.add((item = nextFound(model, found, item, step)).index);
    assert.equal(seen.size, found.count);
    assert.ok(seen.has(nextFound(model, found, item, step).index));
  }
});

test('both languages have every key, with the same values in it', () => {
  const { en, zh } = languages;
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const holes = (s) => (s.match(/\{\w+\}/g) ?? []).sort().join();
  for (const key of Object.keys(en)) assert.equal(holes(zh[key]), holes(en[key]), key);
  for (const key of Object.keys(zh)) assert.ok(zh[key].trim(), key);
});

test('every key that the page asks for is there', () => {
  const folder = new URL('../src/', import.meta.url);
  const sources = readdirSync(folder).filter((f) => f.endsWith('.js')).map((f) => readFileSync(new URL(f, folder), 'utf8'));
  const used = new Set(sources.flatMap((s) => [...s.matchAll(/\bt\('([\w.]+)'/g)].map((m) => m[1])));
  const page = readFileSync(new URL('../page.html', import.meta.url), 'utf8');
  for (const [, key] of page.matchAll(/data-t(?:-label|-placeholder)?="([^"]+)"/g)) used.add(key);
  for (let i = 0; i < STATES.length; i++) used.add(`state.${i}`).add(`stateNote.${i}`);
  for (const i of Object.values(CELL)) used.add(`cell.${i}`).add(`cellNote.${i}`);
  for (const bucket of [...modes.state.buckets(model), ...modes.residency.buckets(model)]) used.add(`colour.${bucket.key}`);
  for (const kind of ['break', 'subheap', 'runs', 'run descriptors', 'cache', 'tables', 'arena', 'mapped']) used.add(`segment.${kind}`).add(`segmentNote.${kind}`);
  assert.deepEqual([...used].filter((key) => !(key in languages.en)), []);
});

test('the words of a block fill it without a hole', () => {
  const t = texts('en');
  for (let i = 0; i < model.chunks.count; i += 3) {
    const item = { kind: 'chunk', index: i };
    let { from } = model.rangeOf(item);
    for (const word of wordsOf(model, item, t)) {
      assert.equal(word.from, from);
      from = word.to;
    }
    assert.equal(from, model.rangeOf(item).to);
    assert.ok(describe(model, item, t).length >= 3);
  }
});

test('a disguised link of a fast bin is read as what it means', () => {
  const t = texts('en');
  const fast = model.lists.filter((l) => l.kind === 'fast' && l.blocks.length > 1);
  assert.ok(fast.length);
  for (const { blocks } of fast) {
    const words = wordsOf(model, model.blockAt(blocks[0]), t);
    assert.equal(words.find((w) => w.label === 'fd').note, `next 0x${blocks[1].toString(16)}`);
  }
});

/* Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB. */
const blindness = {
  none: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritan: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};
const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);

function lab(colour, kind) {
  const m = blindness[kind];
  const c = colour.map(linear);
  const [r, g, b] = [0, 3, 6].map((i) => Math.min(1, Math.max(0, m[i] * c[0] + m[i + 1] * c[1] + m[i + 2] * c[2])));
  const f = (v) => (v > 0.008856 ? Math.cbrt(v) : 7.787 * v + 16 / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

test('any two colours of a picture differ, for every kind of eye, or have different patterns', () => {
  const close = [];
  for (const dark of [false, true])
    for (const name of ['state', 'residency', 'arena', 'class']) {
      const buckets = modes[name].buckets({ arenas: Array(8) }).filter((b) => !b.free);
      const paints = palette(buckets, dark, rgb(dark ? '#14181c' : '#faf9f6'));
      for (const kind of Object.keys(blindness))
        for (let i = 0; i < paints.length; i++)
          for (let j = i + 1; j < paints.length; j++) {
            if (paints[i].pattern !== paints[j].pattern) continue;
            const [a, b] = [lab(paints[i].rgb, kind), lab(paints[j].rgb, kind)];
            const distance = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
            // Steps of the ramp are read by their order, too.
            if (distance < (name === 'class' ? 4 : 12)) close.push(`${name} ${dark ? 'dark' : 'light'} ${kind}: ${buckets[i].key}${i} ${buckets[j].key}${j} ${distance.toFixed(1)}`);
          }
    }
  assert.deepEqual(close, []);
});
