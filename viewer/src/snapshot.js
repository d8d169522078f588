/*
 * readSnapshot: the JSON of docs/formats.md becomes columns of numbers, sorted by address, with an index from every block to
 * the list it is in. Everything a snapshot says may be wrong (it may come from a damaged heap), so nothing here trusts an index.
 *
 * A *leaf* is a chunk or a run: what the picture is made of. Leaves do not overlap; cells are inside runs.
 */
export class SnapshotError extends Error {}

export const CELL = { inUse: 0, free: 1, cached: 2, remote: 3, uncarved: 4, moving: 5 };
const CELL_HEADER_BYTES = 8;
const CHUNK_HEADER_BYTES = 16;

export function readSnapshot(input) {
  const json = typeof input === 'string' ? parse(input) : input;
  if (!json || typeof json !== 'object' || Array.isArray(json) || json.format !== 'quarry-snapshot')
    throw new SnapshotError('not a quarry-snapshot');
  if (json.version !== 1) throw new SnapshotError(`quarry-snapshot version ${json.version}; this page reads version 1`);
  return new Model(json);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new SnapshotError(`not JSON: ${e.message}`);
  }
}

class Model {
  constructor(json) {
    this.takenAt = json.taken_at ?? null;
    this.stoppedUs = json.stopped_us ?? null;
    this.source = json.source ?? null;
    this.process = { pid: null, command: '', executable: '', ...json.process };
    this.process.threads = list(json.process?.threads);
    this.pageSize = json.process?.page_size || 4096;
    this.library = { version: '', profile: '', options: {}, defaults: {}, ...json.library };
    this.figures = json.figures ?? {};
    this.maps = list(json.maps)
      .map((m) => ({ ...m, from: numberOf(m.from), to: numberOf(m.to) }))
      .filter((m) => m.to > m.from)
      .sort((a, b) => a.from - b.from);
    this.break = json.break ?? null;
    this.segments = list(json.segments).filter((s) => s.to > s.from).sort((a, b) => a.from - b.from);
    for (const s of this.segments) s.pageBits = s.pages ? bytesOf(s.pages) : null;
    this.arenas = list(json.arenas);
    this.caches = list(json.caches);
    this.findings = list(json.findings);
    this.findingsLeftOut = json.findings_left_out || 0;
    this.stops = json.stops ?? null;
    this.busy = json.busy ?? false;
    this.otherCopies = json.other_copies ?? 0;
    this.listsRead = json.lists_read ?? true;
    this.headersRead = json.headers_read ?? true;
    this.states = list(json.states);
    this.runs = list(json.runs).slice().sort((a, b) => a.at - b.at);
    this.runBytes = 65536;
    this.readChunks(json.chunks ?? {});
    this.readLists(list(json.bins));
    this.makeLeaves();
    this.cellStates = new Map();
  }

  readChunks(columns) {
    const deltas = list(columns.at);
    const n = deltas.length;
    for (const name of ['size', 'tags', 'state'])
      if (list(columns[name]).length !== n)
        throw new SnapshotError(`chunks.${name} has ${list(columns[name]).length} entries, chunks.at has ${n}`);
    const at = new Float64Array(n);
    let address = 0;
    let sorted = true;
    for (let i = 0; i < n; i++) {
      if (i && !(deltas[i] > 0)) sorted = false;
      at[i] = address += deltas[i];
    }
    const order = sorted ? null : Uint32Array.from(at.keys()).sort((a, b) => at[a] - at[b]);
    const beyond = { fd: new Map(), bk: new Map() };
    const column = (Type, values, texts) => {
      const out = new Type(n);
      const from = values ?? [];
      for (let i = 0; i < Math.min(n, from.length); i++) {
        const value = from[order ? order[i] : i];
        out[i] = numberOf(value);
        if (typeof value === 'string') texts?.set(i, value);
      }
      return out;
    };
    this.chunks = {
      count: n,
      at: order ? column(Float64Array, at) : at,
      size: column(Float64Array, columns.size),
      prevSize: column(Float64Array, columns.prev_size),
      tags: column(Uint8Array, columns.tags),
      state: column(Uint8Array, columns.state),
      arena: column(Int32Array, columns.arena),
      fd: column(Float64Array, columns.fd, beyond.fd),
      bk: column(Float64Array, columns.bk, beyond.bk),
      beyond, // links that are no addresses, as texts: what the program wrote there
      list: new Int32Array(n).fill(-1),
      place: new Int32Array(n),
    };
    // The page's own numbers for states, whatever order the writer has.
    const own = this.states.map((name) => STATES.indexOf(name));
    const { state } = this.chunks;
    for (let i = 0; i < n; i++) state[i] = own[state[i]] >= 0 ? own[state[i]] : BROKEN;
  }

  /* Every bin and every stack is one list; `place` counts from what the next request gets. */
  readLists(bins) {
    this.lists = [];
    this.cellLists = new Map();
    for (const b of bins) {
      this.addList({ type: 'bin', kind: b.kind, arena: b.arena, index: b.index, from: b.from, to: b.to, blocks: list(b.chunks) });
    }
    this.caches.forEach((cache, index) => {
      for (const s of list(cache.cells))
        this.addList({ type: 'cells', cache: index, class: s.class, from: s.stride, to: s.stride, limit: s.limit, blocks: list(s.blocks).slice().reverse() });
      for (const s of list(cache.chunks))
        this.addList({ type: 'chunks', cache: index, class: s.class, from: s.from, to: s.to ?? s.from, limit: s.limit, blocks: list(s.blocks).slice().reverse() });
    });
  }

  addList(entry) {
    const number = this.lists.push(entry) - 1;
    entry.blocks.forEach((address, place) => {
      if (entry.type === 'cells') {
        this.cellLists.set(address, { list: number, place });
        return;
      }
      const i = this.chunkIndex(address);
      if (i >= 0 && this.chunks.list[i] < 0) {
        this.chunks.list[i] = number;
        this.chunks.place[i] = place;
      }
    });
  }

  /* The chunk whose header or whose memory is at this very address. */
  chunkIndex(address) {
    const { at, count } = this.chunks;
    const i = lastAtOrBelow(at, count, address);
    if (i < 0) return -1;
    return at[i] === address || at[i] + CHUNK_HEADER_BYTES === address ? i : -1;
  }

  makeLeaves() {
    const { chunks, runs } = this;
    const total = chunks.count + runs.length;
    const from = new Float64Array(total);
    const to = new Float64Array(total);
    const ref = new Int32Array(total); // chunk index, or -1 - run index
    let c = 0;
    let r = 0;
    for (let i = 0; i < total; i++) {
      if (r >= runs.length || (c < chunks.count && chunks.at[c] < runs[r].at)) {
        from[i] = chunks.at[c];
        to[i] = chunks.at[c] + Math.max(chunks.size[c], 16);
        ref[i] = c++;
      } else {
        from[i] = runs[r].at;
        to[i] = runs[r].at + this.runBytes;
        ref[i] = -1 - r++;
      }
    }
    for (let i = 0; i + 1 < total; i++) if (to[i] > from[i + 1]) to[i] = Math.max(from[i], from[i + 1]);
    this.leaves = { count: total, from, to, ref };
  }

  leafAt(address) {
    const { from, to, count } = this.leaves;
    const i = lastAtOrBelow(from, count, address);
    return i >= 0 && address < to[i] ? i : -1;
  }

  leafOf(item) {
    return this.leafAt(item.kind === 'chunk' ? this.chunks.at[item.index] : this.runs[item.kind === 'cell' ? item.run : item.index].at);
  }

  /* One byte for each cell of a run: CELL. Decoded when first looked at. */
  cellsOf(runIndex) {
    let states = this.cellStates.get(runIndex);
    if (states) return states;
    const run = this.runs[runIndex];
    const count = run.owner == null || !run.stride ? 0 : Math.min(run.cells || 0, 65536);
    states = new Uint8Array(count);
    const free = bytesOf(run.free);
    const remote = bytesOf(run.remote);
    const cached = bytesOf(run.cached);
    const available = bytesOf(run.available);
    const moving = bytesOf(run.moving);
    for (let i = 0; i < count; i++) {
      if (!bit(available, i)) states[i] = CELL.uncarved;
      else if (bit(moving, i)) states[i] = CELL.moving;
      else if (bit(cached, i)) states[i] = CELL.cached;
      else if (bit(remote, i)) states[i] = CELL.remote;
      else if (bit(free, i)) states[i] = CELL.free;
    }
    if (this.cellStates.size > 20000) this.cellStates.clear();
    this.cellStates.set(runIndex, states);
    return states;
  }

  /* Where a cell's header lies; its memory is 8 bytes on. */
  cellFrom(run, index) {
    return run.at + run.first - CELL_HEADER_BYTES + index * run.stride;
  }

  /* The chunk or cell (or the run, between its cells) that holds an address; null if none does. */
  blockAt(address) {
    const leaf = this.leafAt(address);
    if (leaf < 0) return null;
    const ref = this.leaves.ref[leaf];
    if (ref >= 0) return { kind: 'chunk', index: ref };
    const index = -1 - ref;
    const run = this.runs[index];
    const count = this.cellsOf(index).length;
    const cell = count ? Math.floor((address - this.cellFrom(run, 0)) / run.stride) : -1;
    return cell >= 0 && cell < count ? { kind: 'cell', run: index, index: cell } : { kind: 'run', index };
  }

  itemAt(address) {
    const block = this.blockAt(address);
    if (block) return block;
    const segment = this.segmentAt(address);
    if (segment >= 0) return { kind: 'segment', index: segment };
    const map = rangeAt(this.maps, address);
    return map >= 0 ? { kind: 'map', index: map } : null;
  }

  segmentAt(address) {
    return rangeAt(this.segments, address);
  }

  mapAt(address) {
    return rangeAt(this.maps, address);
  }

  rangeOf(item) {
    switch (item.kind) {
      case 'chunk': {
        const from = this.chunks.at[item.index];
        return { from, to: from + Math.max(this.chunks.size[item.index], 16) };
      }
      case 'run': {
        const from = this.runs[item.index].at;
        return { from, to: from + this.runBytes };
      }
      case 'cell': {
        const run = this.runs[item.run];
        const from = this.cellFrom(run, item.index);
        return { from, to: from + run.stride };
      }
      case 'segment':
        return this.segments[item.index];
      default:
        return this.maps[item.index];
    }
  }

  /* The block before or after, skipping nothing; null at the end of a segment. */
  neighbour(item, step) {
    if (item.kind === 'cell') {
      const index = item.index + step;
      if (index >= 0 && index < this.cellsOf(item.run).length) return { kind: 'cell', run: item.run, index };
    }
    if (item.kind === 'segment' || item.kind === 'map') {
      const index = item.index + step;
      return index >= 0 && index < (item.kind === 'segment' ? this.segments : this.maps).length ? { kind: item.kind, index } : null;
    }
    const leaf = this.leafOf(item) + step;
    if (leaf < 0 || leaf >= this.leaves.count) return null;
    const ref = this.leaves.ref[leaf];
    if (ref >= 0) return { kind: 'chunk', index: ref };
    const run = -1 - ref;
    if (item.kind !== 'cell') return { kind: 'run', index: run };
    const count = this.cellsOf(run).length;
    return count ? { kind: 'cell', run, index: step > 0 ? 0 : count - 1 } : { kind: 'run', index: run };
  }

  /* 0 not resident, 1 resident, 2 swapped, 3 huge; -1 where the snapshot does not say. */
  pageState(segment, address) {
    const { pageBits, from } = segment;
    if (!pageBits) return -1;
    const page = Math.floor(address / this.pageSize) - Math.floor(from / this.pageSize);
    const byte = pageBits[page >> 2];
    return byte === undefined ? -1 : (byte >> ((page & 3) * 2)) & 3;
  }
}

export const STATES = ['in use', 'binned', 'unsorted', 'fast', 'cached', 'inbox', 'top', 'fence', 'mapped', 'broken', 'moving'];
export const BROKEN = STATES.indexOf('broken');

export function sameItem(a, b) {
  return a === b || (a && b && a.kind === b.kind && a.index === b.index && a.run === b.run);
}

/* JSON writes numbers beyond 2^53 as texts, for readers round them. The ends of pages are exact all the same. */
function numberOf(value) {
  return typeof value === 'string' ? Number(value) : value;
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function bytesOf(base64) {
  if (!base64) return EMPTY;
  let text;
  try {
    text = atob(base64);
  } catch {
    throw new SnapshotError('a bitmap is not base64');
  }
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}
const EMPTY = new Uint8Array(0);

function bit(bytes, i) {
  return (bytes[i >> 3] >> (i & 7)) & 1;
}

/* Index of the last of values[0..count) that is <= x, or -1. */
export function lastAtOrBelow(values, count, x) {
  let lo = 0;
  let hi = count;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (values[mid] <= x) lo = mid + 1;
    else hi = mid;
  }
  return lo - 1;
}

function rangeAt(ranges, address) {
  let lo = 0;
  let hi = ranges.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (ranges[mid].from <= address) lo = mid + 1;
    else hi = mid;
  }
  return lo > 0 && address < ranges[lo - 1].to ? lo - 1 : -1;
}
