/*
 * What the search field understands: an address (0x7f…), or conditions that must all hold:
 *
 *     state:cached  size:>1000  size:1K..4K  arena:1  kind:cell  thread:4121
 */
import { CELL, STATES } from './snapshot.js';

const CHUNK_STATES = {
  live: ['in use', 'mapped'], used: ['in use', 'mapped'], free: ['binned', 'unsorted', 'fast'], remote: ['inbox'],
  ...Object.fromEntries(STATES.map((s) => [s.replace(' ', ''), [s]])),
};
const CELL_STATES = {
  live: [CELL.inUse], used: [CELL.inUse], inuse: [CELL.inUse], free: [CELL.free], cached: [CELL.cached], inbox: [CELL.remote],
  moving: [CELL.moving], remote: [CELL.remote], uncarved: [CELL.uncarved],
};
export const STATE_WORDS = [...new Set([...Object.keys(CHUNK_STATES), ...Object.keys(CELL_STATES)])].sort();

export class SearchError extends Error {
  constructor(key, word) {
    super(`${key}: ${word}`);
    this.key = key;
    this.word = word;
  }
}

/* { address } or { test }, where test has predicates of chunks and cells. */
export function parseSearch(text, model) {
  const words = text.trim().replace(/:\s+/g, ':').replace(/in use/g, 'inuse').split(/\s+/).filter(Boolean);
  if (words.length === 1 && /^(0x)?[0-9a-f]+$/i.test(words[0]) && (/^0x/i.test(words[0]) || words[0].length > 5))
    return { address: parseInt(words[0].replace(/^0x/i, ''), 16) };
  const chunk = [];
  const cell = [];
  for (const word of words) {
    const [, key, value] = word.match(/^([a-z]+):(.+)$/i) ?? [];
    const make = Object.hasOwn(conditions, key?.toLowerCase() ?? '') ? conditions[key.toLowerCase()] : null;
    if (!make) throw new SearchError('searchUnknown', word);
    const made = make(value.toLowerCase(), model, word);
    chunk.push(made.chunk);
    cell.push(made.cell);
  }
  return {
    chunk: (i) => chunk.every((f) => f(i)),
    cell: (run, state) => cell.every((f) => f(run, state)),
  };
}

const never = () => false;
const conditions = {
  state(value, model, word) {
    const chunkStates = Object.hasOwn(CHUNK_STATES, value) ? CHUNK_STATES[value] : null;
    const cellStates = Object.hasOwn(CELL_STATES, value) ? CELL_STATES[value] : null;
    if (!chunkStates && !cellStates) throw new SearchError('searchState', word);
    const numbers = new Set((chunkStates ?? []).map((s) => STATES.indexOf(s)));
    const cells = new Set(cellStates ?? []);
    return { chunk: (i) => numbers.has(model.chunks.state[i]), cell: (run, state) => cells.has(state) };
  },
  size(value, model, word) {
    const range = value.match(/^(\d+[kmg]?)\.\.(\d+[kmg]?)$/);
    const bound = value.match(/^(>=|<=|>|<|=)?(\d+[kmg]?)$/);
    let test;
    if (range) test = (n) => n >= amount(range[1]) && n <= amount(range[2]);
    else if (bound) {
      const n = amount(bound[2]);
      test = { '>': (x) => x > n, '<': (x) => x < n, '>=': (x) => x >= n, '<=': (x) => x <= n }[bound[1]] ?? ((x) => x === n);
    } else throw new SearchError('searchSize', word);
    return { chunk: (i) => test(model.chunks.size[i]), cell: (run) => test(run.stride) };
  },
  arena(value, model, word) {
    if (!/^\d+$/.test(value)) throw new SearchError('searchNumber', word);
    return { chunk: (i) => model.chunks.arena[i] === Number(value), cell: never };
  },
  thread(value, model, word) {
    if (!/^\d+$/.test(value)) throw new SearchError('searchNumber', word);
    const cache = model.caches.findIndex((c) => c.tid === Number(value));
    const host = model.caches[cache]?.host ?? cache;
    return { chunk: (i) => cache >= 0 && model.lists[model.chunks.list[i]]?.cache === cache, cell: (run) => cache >= 0 && run.owner === host };
  },
  kind(value, model, word) {
    if (value !== 'chunk' && value !== 'cell') throw new SearchError('searchKind', word);
    return value === 'chunk' ? { chunk: () => true, cell: never } : { chunk: never, cell: () => true };
  },
};

function amount(text) {
  return parseInt(text, 10) * ({ k: 1024, m: 1048576, g: 1073741824 }[text.at(-1)] ?? 1);
}

let searches = 0;

/* All that the test finds: marks by chunk, sums by leaf (how many of the leaves before hold a hit), counts. */
export function find(model, test) {
  const chunk = new Uint8Array(model.chunks.count);
  const { leaves } = model;
  const before = new Uint32Array(leaves.count + 1);
  let count = 0;
  let bytes = 0;
  for (let leaf = 0; leaf < leaves.count; leaf++) {
    const ref = leaves.ref[leaf];
    let hit = 0;
    if (ref >= 0) {
      if (test.chunk(ref)) {
        chunk[ref] = hit = 1;
        count++;
        bytes += model.chunks.size[ref];
      }
    } else {
      const run = model.runs[-1 - ref];
      const cells = model.cellsOf(-1 - ref);
      const is = Object.values(CELL).map((state) => test.cell(run, state));
      for (let i = 0; i < cells.length; i++) {
        if (!is[cells[i]]) continue;
        hit = 1;
        count++;
        bytes += run.stride;
      }
    }
    before[leaf + 1] = before[leaf] + hit;
  }
  return { id: ++searches, chunk, before, count, bytes, cell: test.cell };
}

/* The next block found after an item, or before it; from the start if item is null. Goes round. */
export function nextFound(model, found, item, step) {
  const { leaves } = model;
  if (!found.count) return null;
  let leaf = item && (item.kind === 'chunk' || item.kind === 'cell' || item.kind === 'run') ? model.leafOf(item) : step > 0 ? -1 : leaves.count;
  if (item?.kind === 'cell') {
    const cell = nextCell(model, found, item.run, item.index + step, step);
    if (cell) return cell;
  }
  for (let n = 0; n <= leaves.count; n++) {
    leaf = (leaf + step + leaves.count) % leaves.count;
    if (found.before[leaf + 1] === found.before[leaf]) continue;
    const ref = leaves.ref[leaf];
    if (ref >= 0) return { kind: 'chunk', index: ref };
    const cell = nextCell(model, found, -1 - ref, step > 0 ? 0 : model.cellsOf(-1 - ref).length - 1, step);
    if (cell) return cell;
  }
  return null;
}

function nextCell(model, found, run, from, step) {
  const cells = model.cellsOf(run);
  for (let i = from; i >= 0 && i < cells.length; i += step) if (found.cell(model.runs[run], cells[i])) return { kind: 'cell', run, index: i };
  return null;
}
