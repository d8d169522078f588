/*
 * How many bytes of each bucket lie between two positions of the axis. Sums up to every 32nd leaf are kept, so a question costs the
 * same whether a thousand blocks lie between or a million.
 */
import { slackOf } from './colours.js';
import { CELL, lastAtOrBelow } from './snapshot.js';

const STEP = 32;
const CELLS = Object.keys(CELL).length;
const IS_RUN = 255;

export class Sums {
  /* `leaves` has u0 and u1, the leaves' positions. */
  constructor(model, mode, buckets, leaves) {
    this.leaves = leaves;
    this.buckets = buckets;
    const n = leaves.count;
    this.bucket = new Uint8Array(n);
    this.vectors = new Float32Array(model.runs.length * buckets);
    this.ref = leaves.ref;
    for (let i = 0; i < n; i++) {
      const ref = leaves.ref[i];
      if (ref >= 0) this.bucket[i] = mode.chunk(model, ref);
      else {
        this.bucket[i] = IS_RUN;
        this.addRun(model, mode, -1 - ref);
      }
    }
    this.before = new Float64Array((Math.floor(n / STEP) + 1) * buckets);
    const sum = new Float64Array(buckets);
    for (let i = 0; i < n; i++) {
      if (i % STEP === 0) this.before.set(sum, (i / STEP) * buckets);
      this.addLeaf(i, 1, sum);
    }
    if (n % STEP === 0) this.before.set(sum, (n / STEP) * buckets);
  }

  addRun(model, mode, index) {
    const run = model.runs[index];
    const at = index * this.buckets;
    const slack = slackOf(mode, model);
    let used = 0;
    if (run.owner == null) {
      this.vectors[at + mode.emptyRun(model, run)] += model.runBytes;
      return;
    }
    const cells = model.cellsOf(index);
    const count = new Uint32Array(CELLS);
    for (let i = 0; i < cells.length; i++) count[cells[i]]++;
    for (let state = 0; state < CELLS; state++) {
      if (!count[state]) continue;
      this.vectors[at + mode.cell(model, run, state)] += count[state] * run.stride;
      used += count[state] * run.stride;
    }
    this.vectors[at + slack] += Math.max(0, model.runBytes - used);
  }

  addLeaf(i, share, out) {
    const { u0, u1 } = this.leaves;
    const bucket = this.bucket[i];
    if (bucket !== IS_RUN) {
      out[bucket] += (u1[i] - u0[i]) * share;
      return;
    }
    const at = (-1 - this.ref[i]) * this.buckets;
    for (let b = 0; b < this.buckets; b++) out[b] += this.vectors[at + b] * share;
  }

  /* Adds to out[]; returns the index of the last leaf that was looked at, from which the next question may start. */
  between(a, b, out, hint = 0) {
    const { u0, u1, count } = this.leaves;
    let i = this.firstAfter(a, hint);
    // The first and the last may lie in part within.
    let last = i;
    if (i < count && u0[i] < b) {
      const end = this.firstFrom(b, i);
      last = end - 1;
      const clip = (k) => this.addLeaf(k, (Math.min(u1[k], b) - Math.max(u0[k], a)) / (u1[k] - u0[k] || 1), out);
      if (u0[i] < a || last === i) clip(i++);
      if (last >= i) {
        const whole = u1[last] > b ? last : last + 1;
        this.addWhole(i, whole, out);
        if (whole === last) clip(last);
      }
    }
    return last;
  }

  addWhole(from, to, out) {
    const first = Math.ceil(from / STEP);
    const last = Math.floor(to / STEP);
    if (last <= first) {
      for (let i = from; i < to; i++) this.addLeaf(i, 1, out);
      return;
    }
    for (let i = from; i < first * STEP; i++) this.addLeaf(i, 1, out);
    for (let b = 0; b < this.buckets; b++)
      out[b] += this.before[last * this.buckets + b] - this.before[first * this.buckets + b];
    for (let i = last * STEP; i < to; i++) this.addLeaf(i, 1, out);
  }

  /* The first leaf that ends after u. Looks near the hint first: questions come in order. */
  firstAfter(u, hint) {
    const { u1, count } = this.leaves;
    let i = hint;
    if (i > 0 && u1[i - 1] > u) i = 0;
    for (let k = 0; k < 8; k++, i++) if (i >= count || u1[i] > u) return Math.min(i, count);
    return lastAtOrBelow(u1, count, u) + 1;
  }

  /* The first leaf that begins at or after u, from `from` on. */
  firstFrom(u, from) {
    const { u0, count } = this.leaves;
    for (let k = 0, i = from; k < 8; k++, i++) if (i >= count || u0[i] >= u) return Math.min(i, count);
    let lo = from;
    let hi = count;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (u0[mid] < u) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }
}
