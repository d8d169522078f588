/*
 * The axis of the picture: addresses to positions and back. Between the mappings of a process lie gaps of terabytes, so a gap gets a
 * fixed short length, and so does what is not heap (text, libraries, stacks) where it is longer than its share. Everything in which
 * the allocator has something is to scale: one unit a byte.
 */
import { lastAtOrBelow } from './snapshot.js';

const GAPS_SHARE = 0.06;
const OTHERS_SHARE = 0.14;

export class Axis {
  constructor(model) {
    const ranges = regions(model);
    const heapBytes = ranges.reduce((sum, r) => sum + (r.heap ? r.to - r.from : 0), 0) || 1 << 20;
    const others = ranges.filter((r) => !r.heap).length || 1;
    const gapMost = Math.max(model.pageSize, (heapBytes * GAPS_SHARE) / (ranges.length || 1));
    const otherMost = Math.max(model.pageSize, (heapBytes * OTHERS_SHARE) / others);
    const gapLength = (bytes) => Math.max(Math.round(Math.min(bytes, gapMost)), 16);
    this.pieces = [];
    let u = 0;
    const add = (from, to, length, kind, region) => {
      this.pieces.push({ u, from, to, scale: length / (to - from), kind, region });
      u += length;
    };
    ranges.forEach((r, i) => {
      const gap = i ? r.from - ranges[i - 1].to : 0;
      let wait = 0;
      if (r.heap) {
        // Rows of the picture are cut at powers of two of u: the heap keeps its alignment.
        const align = Math.min(65536, 2 ** Math.floor(Math.log2(r.to - r.from)));
        const start = u + (gap ? gapLength(gap) : 0);
        wait = (((r.from - start) % align) + align) % align;
      }
      if (gap) add(r.from - gap, r.from, gapLength(gap) + wait, 'gap', null);
      else if (wait && this.pieces.length) {
        const last = this.pieces[this.pieces.length - 1];
        last.scale = (u + wait - last.u) / (last.to - last.from);
        u += wait;
      }
      add(r.from, r.to, r.heap ? r.to - r.from : Math.round(Math.min(r.to - r.from, otherMost)), 'region', r);
    });
    if (!this.pieces.length) add(0, 4096, 4096, 'gap', null);
    this.length = u;
    this.us = Float64Array.from(this.pieces, (p) => p.u);
    this.froms = Float64Array.from(this.pieces, (p) => p.from);
  }

  toU(address) {
    const i = Math.max(0, lastAtOrBelow(this.froms, this.froms.length, address));
    const p = this.pieces[i];
    return p.u + (Math.min(Math.max(address, p.from), p.to) - p.from) * p.scale;
  }

  pieceIndex(u) {
    return Math.max(0, lastAtOrBelow(this.us, this.us.length, u));
  }

  toAddress(u) {
    const p = this.pieces[this.pieceIndex(u)];
    return Math.min(p.to, p.from + Math.max(0, u - p.u) / p.scale);
  }
}

/* Mappings and segments, without overlap, in order. What of a mapping the allocator holds is heap; heap beside heap is one. */
function regions(model) {
  const ends = [...model.maps, ...model.segments].flatMap((r) => [r.from, r.to]);
  const points = Float64Array.from(new Set(ends)).sort();
  const out = [];
  for (let i = 0; i + 1 < points.length; i++) {
    const from = points[i];
    const to = points[i + 1];
    const map = model.mapAt(from);
    const held = model.segmentAt(from) >= 0;
    if (map < 0 && !held) continue;
    const heap = held && !(map >= 0 && model.maps[map].perms?.startsWith('---'));
    const last = out[out.length - 1];
    if (heap && last?.heap && last.to === from) last.to = to;
    else out.push({ from, to, heap });
  }
  return out;
}
