/*
 * A chunk, cell, run, segment or mapping in words: what its header says bit by bit, where it stands, what is beside it. Returns
 * plain values; links are addresses or items. The picture's words (wordsOf) come from here too, so both always agree.
 */
import { CELL, STATES } from './snapshot.js';
import { hex } from './format.js';

const HEADER = 16;
const TAG = 8;
const P = 1;
const M = 2;
const A = 4;
const PURGED = 8;
const CELL_TAG_EXTRA = 8;
const LARGE_LIST_BYTES = 1024;

const stateName = (model, i) => STATES[model.chunks.state[i]];

/* Free for its neighbours too, with links. One in no list is so if the chunk behind it says so: P = 0. */
function isFree(model, i) {
  const { at, size, tags, count } = model.chunks;
  const behind = i + 1 < count && at[i + 1] === at[i] + size[i] && !(tags[i + 1] & P);
  return ['binned', 'unsorted'].includes(stateName(model, i)) || (stateName(model, i) === 'moving' && behind);
}

const hasUser = (name) => !['top', 'fence', 'binned', 'unsorted'].includes(name);

export function usableBytes(model, item) {
  if (item.kind === 'cell') return model.runs[item.run].stride - TAG;
  const name = stateName(model, item.index);
  if (!hasUser(name)) return 0;
  return model.chunks.size[item.index] - (name === 'mapped' ? HEADER : TAG);
}

export function labelOfMap(map, t) {
  const name = map.name ? map.name.replace(/^.*\//, '') : '';
  const kind = map.perms?.startsWith('---') ? t('reserved') : t(`map.${map.kind}`);
  return name ? `${kind} · ${name}` : kind;
}

export function labelOfSegment(model, segment, t) {
  const kind = t(`segment.${segment.kind}`);
  const arena = segment.arena == null ? '' : ` · ${t('arenaN', { n: segment.arena })}`;
  return `${kind}${arena} · ${t.bytes(segment.to - segment.from)}`;
}

export function labelOfRun(model, run, t) {
  if (run.owner == null) return `${t('run')} · ${t(`runState.${run.state}`)}`;
  return `${t('run')} · ${t.count(run.cells)} × ${t.bytes(run.stride)} · ${ownerOf(model, run.owner, t)}`;
}

export function ownerOf(model, cacheIndex, t) {
  const cache = model.caches[cacheIndex];
  if (!cache) return t('cacheN', { n: cacheIndex });
  if (cache.tid == null) return t('orphanCache', { n: cacheIndex });
  const name = model.process.threads.find((thread) => thread.tid === cache.tid)?.name;
  return t('threadN', { tid: cache.tid, name: name ? ` ${name}` : '' });
}

export function nameOfList(model, number, t) {
  const l = model.lists[number];
  if (l.type === 'bin') return t(`bin.${l.kind}`, { n: l.index, arena: l.arena });
  return t(`stack.${l.type}`, { size: t.bytes(l.from), owner: ownerOf(model, l.cache, t) });
}

/* One line that says what an item is. */
export function titleOf(model, item, t) {
  switch (item.kind) {
    case 'chunk':
      return t('titleChunk', { size: t.bytes(model.chunks.size[item.index]), state: t(`state.${model.chunks.state[item.index]}`) });
    case 'cell':
      return t('titleCell', { n: item.index, size: t.bytes(model.runs[item.run].stride), state: t(`cell.${model.cellsOf(item.run)[item.index]}`) });
    case 'run':
      return labelOfRun(model, model.runs[item.index], t);
    case 'segment':
      return labelOfSegment(model, model.segments[item.index], t);
    default:
      return labelOfMap(model.maps[item.index], t);
  }
}

/* The state by which the legend colours it, or null. */
export function stateKey(model, item) {
  if (item.kind === 'chunk') return `state.${model.chunks.state[item.index]}`;
  if (item.kind === 'cell') return `cell.${model.cellsOf(item.run)[item.index]}`;
  return null;
}

/* The words of a block in order: { from, to, label, value, note, header }. */
export function wordsOf(model, item, t) {
  if (item.kind === 'cell') {
    const run = model.runs[item.run];
    const from = model.cellFrom(run, item.index);
    const state = model.cellsOf(item.run)[item.index];
    const free = state !== CELL.inUse;
    if (state === CELL.uncarved) return [{ from, to: from + run.stride, label: t('notCarved'), note: t('notCarvedShort') }];
    return [
      { from, to: from + TAG, label: t('cellHeader'), value: `tag ${hex(run.stride + CELL_TAG_EXTRA)}`, note: t(free ? 'secretGone' : 'secretThere'), header: true },
      { from: from + TAG, to: from + run.stride, label: t(free ? 'freeMemory' : 'userMemory'), value: hex(from + TAG), note: t.bytes(run.stride - TAG) },
    ];
  }
  if (item.kind !== 'chunk') return [];
  const { chunks } = model;
  const i = item.index;
  const at = chunks.at[i];
  const size = chunks.size[i];
  const tags = chunks.tags[i];
  const name = stateName(model, i);
  const words = [
    tags & P || name === 'mapped'
      ? { from: at, to: at + 8, label: 'prev_size', note: t(name === 'mapped' ? 'prevSizeMapped' : 'prevSizeUser'), header: true }
      : { from: at, to: at + 8, label: 'prev_size', value: t.count(chunks.prevSize[i]), note: t('prevSizeFree'), header: true },
    { from: at + 8, to: at + 16, label: 'size', value: hex(size + tags), note: `${t.count(size)} | ${flagsOf(isFree(model, i), tags)}`, header: true },
  ];
  const end = at + size;
  let free = at + HEADER;
  if (isFree(model, i) && size >= 32) {
    words.push({ from: free, to: free + 8, label: 'fd', value: pointer(model, i, 'fd', t), note: t('fdNote'), header: true });
    words.push({ from: free + 8, to: free + 16, label: 'bk', value: pointer(model, i, 'bk', t), note: t('bkNote'), header: true });
    free += 16;
  } else if (name === 'fast') {
    words.push({ from: free, to: free + 8, label: 'fd', value: hex(chunks.fd[i]), note: t('fdFastNote', { next: hex(fastNext(at, chunks.fd[i])) }), header: true });
    free += 8;
  }
  if (end > free) {
    const label = name === 'top' ? 'topMemory' : hasUser(name) && name !== 'fast' && name !== 'cached' && name !== 'inbox' && name !== 'moving' ? 'userMemory' : 'freeMemory';
    words.push({ from: free, to: end, label: t(label), value: hex(free), note: t.bytes(end - free) });
  }
  return words;
}

/* Safe-linking: a fast bin's link is stored as (where it is stored >> 12) ^ next. Beyond 32 bits only BigInt has ^. */
function fastNext(at, stored) {
  return Number((BigInt(at + HEADER) >> 12n) ^ BigInt(stored));
}

/* What leads to no chunk is the head of the list that the chunk is in; and damage, when it is in none. */
function pointer(model, i, name, t) {
  const address = model.chunks.beyond[name].get(i) ?? model.chunks[name][i];
  if (!address) return '0';
  return model.chunkIndex(address) < 0 && model.chunks.list[i] >= 0 ? t('binHead') : hex(address);
}

/* As one writes them: what is set, in the order of the bits. */
function flagsOf(free, tags) {
  const letters = [];
  if (tags & A) letters.push('A');
  if (tags & M && !free) letters.push('M');
  if (tags & P) letters.push('P');
  return letters.join(' ') || '0';
}

/* Sections of { title, rows }; a row is { label, value, note, address, item }. */
export function describe(model, item, t) {
  switch (item.kind) {
    case 'chunk':
      return describeChunk(model, item, t);
    case 'cell':
      return describeCell(model, item, t);
    case 'run':
      return describeRun(model, item, t);
    case 'segment':
      return describeSegment(model, item, t);
    default:
      return describeMap(model, item, t);
  }
}

function describeChunk(model, item, t) {
  const { chunks } = model;
  const i = item.index;
  const at = chunks.at[i];
  const size = chunks.size[i];
  const tags = chunks.tags[i];
  const name = stateName(model, i);
  const free = isFree(model, i);
  const usable = usableBytes(model, item);
  const facts = [
    { label: t('state'), value: t(`state.${chunks.state[i]}`), note: t(`stateNote.${chunks.state[i]}`) },
    { label: t('chunkAt'), value: hex(at), copy: true },
    { label: t('memoryAt'), value: hex(at + HEADER), note: t('memoryAtNote'), copy: true },
    { label: t('size'), value: t.exact(size) },
  ];
  if (usable) facts.push({ label: t('usable'), value: t.exact(usable), note: t(name === 'mapped' ? 'usableMapped' : 'usableChunk') });
  if (usable) facts.push({ label: t('serves'), value: t('servesUpTo', { to: t.count(usable) }) });
  facts.push({ label: t('arena'), value: name === 'mapped' ? t('noArena') : t('arenaN', { n: chunks.arena[i] }) });
  const header = [
    tags & P || name === 'mapped'
      ? { label: 'prev_size', value: '–', note: t(name === 'mapped' ? 'prevSizeMapped' : 'prevSizeUserLong') }
      : { label: 'prev_size', value: t.exact(chunks.prevSize[i]), note: t('prevSizeFreeLong'), item: model.neighbour(item, -1) },
    { label: 'size', value: hex(size + tags), note: t('sizeWord', { size: hex(size), flags: flagsOf(free, tags) }) },
    { label: 'A', value: bitOf(tags, A), note: t(tags & A ? 'flagA1' : free && chunks.arena[i] ? 'flagAFree' : 'flagA0'), flag: true },
    free
      ? { label: 'M', value: bitOf(tags, M), note: t(tags & M ? 'flagAge1' : 'flagAge0'), flag: true }
      : { label: 'M', value: bitOf(tags, M), note: t(tags & M ? 'flagM1' : 'flagM0'), flag: true },
    { label: 'P', value: bitOf(tags, P), note: t(tags & P ? 'flagP1' : 'flagP0'), flag: true },
  ];
  if (free && tags & PURGED) header.push({ label: t('purgedFlag'), value: '1', note: t('flagPurged'), flag: true });
  if (free) {
    header.push({ label: 'fd', ...link(model, i, 'fd', t), note: t('fdLong') });
    header.push({ label: 'bk', ...link(model, i, 'bk', t), note: t('bkLong') });
    if (size >= LARGE_LIST_BYTES) header.push({ label: 'fd_nextsize', value: '', note: t('nextsize') });
  } else if (name === 'fast') {
    header.push({ label: 'fd', value: hex(chunks.fd[i]), note: t('fastLink') });
    header.push({ label: t('meant'), ...leadsTo(model, fastNext(at, chunks.fd[i]), 'noChunk', t) });
  }
  const sections = [
    { rows: facts },
    { title: t('header'), rows: header },
  ];
  if (chunks.list[i] >= 0) sections.push(placeIn(model, chunks.list[i], chunks.place[i], t));
  sections.push(neighbours(model, item, t));
  sections.push(around(model, at, at + size, t));
  return sections;
}

function bitOf(tags, mask) {
  return tags & mask ? '1' : '0';
}

function link(model, i, name, t) {
  const address = model.chunks.beyond[name].get(i) ?? model.chunks[name][i];
  return leadsTo(model, address, model.chunks.list[i] >= 0 ? 'binHead' : 'noChunk', t);
}

function leadsTo(model, address, otherwise, t) {
  if (!address) return { value: '0' };
  const index = model.chunkIndex(address);
  return index >= 0 ? { value: hex(address), item: { kind: 'chunk', index } } : { value: `${hex(address)} · ${t(otherwise)}` };
}

function describeCell(model, item, t) {
  const run = model.runs[item.run];
  const from = model.cellFrom(run, item.index);
  const state = model.cellsOf(item.run)[item.index];
  const used = state === CELL.inUse;
  const sections = [
    {
      rows: [
        { label: t('state'), value: t(`cell.${state}`), note: t(`cellNote.${state}`) },
        { label: t('memoryAt'), value: hex(from + TAG), note: t('memoryAtCell'), copy: true },
        { label: t('stride'), value: t.exact(run.stride), note: t('strideNote') },
        { label: t('usable'), value: t.exact(run.stride - TAG), note: t('usableCell') },
        { label: t('serves'), value: t('servesUpTo', { to: t.count(run.stride - TAG) }) },
      ],
    },
    {
      title: t('header'),
      rows:
        state === CELL.uncarved
          ? [{ label: t('cellHeader'), value: '–', note: t('notCarvedLong') }]
          : [
              { label: t('bits', { range: '15–0' }), value: hex(run.stride + CELL_TAG_EXTRA), note: t('cellTag', { stride: t.count(run.stride) }) },
              { label: t('bits', { range: '31–16' }), value: t('secret'), note: t('cellSecret') },
              { label: t('bits', { range: '63–32' }), value: used ? t('secret') : '0', note: t(used ? 'cellLive' : 'cellFree') },
            ],
    },
  ];
  const place = model.cellLists.get(from + TAG);
  if (place) sections.push(placeIn(model, place.list, place.place, t));
  sections.push({
    title: t('run'),
    rows: [
      { label: t('run'), value: hex(run.at), item: { kind: 'run', index: item.run } },
      { label: t('cell'), value: t('nOf', { n: t.count(item.index), of: t.count(run.cells) }) },
      { label: t('owner'), value: ownerOf(model, run.owner, t), note: t('ownerNote') },
    ],
    grid: item.run,
  });
  sections.push(neighbours(model, item, t));
  sections.push(around(model, from, from + run.stride, t));
  return sections;
}

function describeRun(model, item, t) {
  const run = model.runs[item.index];
  const cells = model.cellsOf(item.index);
  const rows = [
    { label: t('runAt'), value: hex(run.at), copy: true },
    { label: t('state'), value: t(`runState.${run.state}`), note: t(`runStateNote.${run.state}`) },
  ];
  if (run.owner != null) {
    const count = Object.values(CELL).map(() => 0);
    for (const state of cells) count[state]++;
    rows.push(
      { label: t('stride'), value: t.exact(run.stride), note: t('strideNote') },
      { label: t('firstCell'), value: t.exact(run.first), note: t('firstCellNote') },
      { label: t('owner'), value: ownerOf(model, run.owner, t), note: t('ownerNote') },
      ...[...count.entries()].filter(([, n]) => n).map(([state, n]) => ({ label: t(`cell.${state}`), value: t('nOf', { n: t.count(n), of: t.count(cells.length) }) })),
    );
  }
  return [{ rows }, ...(cells.length ? [{ title: t('cells'), rows: [], grid: item.index }] : []), neighbours(model, item, t), around(model, run.at, run.at + model.runBytes, t)];
}

function describeSegment(model, item, t) {
  const s = model.segments[item.index];
  const counts = [0, 0, 0, 0];
  const pages = Math.ceil((s.to - s.from) / model.pageSize);
  if (s.pageBits) for (let p = 0; p < pages; p++) counts[model.pageState(s, s.from + p * model.pageSize)]++;
  const rows = [
    { label: t('kind'), value: t(`segment.${s.kind}`), note: t(`segmentNote.${s.kind}`) },
    { label: t('from'), value: hex(s.from), copy: true },
    { label: t('to'), value: hex(s.to) },
    { label: t('size'), value: t.exact(s.to - s.from) },
  ];
  if (s.used_to > s.from && s.used_to < s.to) rows.push({ label: t('usedTo'), value: hex(s.used_to), note: t('usedToNote', { size: t.bytes(s.to - s.used_to) }) });
  if (s.arena != null) rows.push({ label: t('arena'), value: t('arenaN', { n: s.arena }), note: arenaNote(model, s.arena, t) });
  if (s.kind === 'break' && model.break != null) rows.push({ label: t('programBreak'), value: hex(model.break) });
  const sections = [{ rows }];
  if (s.pageBits)
    sections.push({ title: t('pages'), rows: counts.map((n, state) => ({ label: t(`page.${state}`), value: `${t.count(n)} · ${t.bytes(n * model.pageSize)}` })) });
  const first = model.leafAt(s.from) >= 0 ? model.blockAt(s.from) : firstBlock(model, s);
  if (first) sections.push({ title: t('inside'), rows: [{ label: t('firstBlock'), value: titleOf(model, first, t), item: first }] });
  return sections;
}

function firstBlock(model, segment) {
  const { from, count } = model.leaves;
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (from[mid] < segment.from) lo = mid + 1;
    else hi = mid;
  }
  return lo < count && from[lo] < segment.to ? model.blockAt(from[lo]) : null;
}

function arenaNote(model, index, t) {
  const arena = model.arenas[index];
  if (!arena) return '';
  return t('arenaNote', {
    which: t(arena.main ? 'arenaMain' : 'arenaOther'),
    threads: t.count(arena.threads ?? 0),
    system: t.bytes(arena.system ?? 0),
    locked: arena.locked ? t('arenaLocked') : '',
  });
}

function describeMap(model, item, t) {
  const m = model.maps[item.index];
  const rows = [
    { label: t('kind'), value: t(`map.${m.kind}`), note: t(`mapNote.${m.kind}`) },
    { label: t('name'), value: m.name || '–' },
    { label: t('from'), value: hex(m.from), copy: true },
    { label: t('to'), value: hex(m.to) },
    { label: t('size'), value: t.exact(m.to - m.from) },
    { label: t('perms'), value: m.perms ?? '–', note: permsNote(m.perms, t) },
    { label: t('page.1'), value: t.exact(m.resident ?? 0) },
  ];
  if (m.swapped) rows.push({ label: t('page.2'), value: t.exact(m.swapped) });
  if (m.huge) rows.push({ label: t('page.3'), value: t.exact(m.huge) });
  const inside = model.segments.map((s, index) => ({ s, index })).filter(({ s }) => s.from < m.to && s.to > m.from).slice(0, 40);
  const sections = [{ rows }];
  if (inside.length)
    sections.push({ title: t('segments'), rows: inside.map(({ s, index }) => ({ label: t(`segment.${s.kind}`), value: labelOfSegment(model, s, t), item: { kind: 'segment', index } })) });
  return sections;
}

function permsNote(perms, t) {
  if (!perms) return '';
  const can = [perms[0] === 'r' && t('permRead'), perms[1] === 'w' && t('permWrite'), perms[2] === 'x' && t('permRun')].filter(Boolean);
  return can.length ? can.join(', ') : t('permNone');
}

function placeIn(model, number, place, t) {
  const l = model.lists[number];
  const { blocks } = l;
  const rows = [
    { label: t('list'), value: nameOfList(model, number, t), list: number },
    { label: t('place'), value: t('nOf', { n: t.count(place + 1), of: t.count(blocks.length) }), note: t(l.type === 'bin' ? `order.${l.kind}` : 'order.stack') },
  ];
  const near = [[place - 1, 'listBefore'], [place + 1, 'listAfter']];
  for (const [p, label] of near) {
    const item = p >= 0 && p < blocks.length ? model.blockAt(blocks[p]) : null;
    if (item) rows.push({ label: t(label), value: hex(blocks[p]), item });
  }
  return { title: t('inList'), rows };
}

function neighbours(model, item, t) {
  const row = (label, other) => (other ? { label: t(label), value: titleOf(model, other, t), item: other } : { label: t(label), value: t('none') });
  return { title: t('neighbours'), rows: [row('before', model.neighbour(item, -1)), row('after', model.neighbour(item, 1))] };
}

function around(model, from, to, t) {
  const rows = [];
  const s = model.segmentAt(from);
  if (s >= 0) {
    rows.push({ label: t('segment'), value: labelOfSegment(model, model.segments[s], t), item: { kind: 'segment', index: s } });
    const states = new Set();
    for (let a = from; a < to && states.size < 4 && a < from + 4096 * model.pageSize; a += model.pageSize) states.add(model.pageState(model.segments[s], a));
    states.delete(-1);
    if (states.size) rows.push({ label: t('pages'), value: [...states].sort().map((p) => t(`page.${p}`)).join(', ') });
  }
  const m = model.mapAt(from);
  if (m >= 0) rows.push({ label: t('mapping'), value: labelOfMap(model.maps[m], t), item: { kind: 'map', index: m } });
  return { title: t('liesIn'), rows };
}
