/*
 * HeapView: the picture. A *ribbon* shows a stretch of the address space from left to right: mappings, segments, then chunks and runs to
 * scale, which pages are in memory, how much is free between live blocks, and, near enough, the words of each header. Below it,
 * the *rows* show the same stretch cut into lines of a power of two of bytes, as a page of text.
 *
 * Positions are `u` on the axis (axis.js); `x`, `y` are CSS pixels, and device pixels where a name ends in Px.
 */
import { Axis } from './axis.js';
import { FREE_BUCKETS, LIVE_BUCKETS, RESIDENCY_UNKNOWN, mix, modes, pack, palette, rgb, slackOf } from './colours.js';
import { labelOfMap, labelOfRun, labelOfSegment, wordsOf } from './describe.js';
import { hex } from './format.js';
import { Pixels } from './pixels.js';
import { sameItem } from './snapshot.js';
import { Sums } from './sums.js';
import { texts as textsOf } from './texts/index.js';

const NARROWEST = 48; // bytes on screen
const MARGIN = 12;
const GUTTER = 112; // left of the rows: their addresses
const LANE = { ruler: 0, maps: 22, segments: 46, blocks: 72 };
const COSTLY_MS = 10; // rows that take longer are drawn with less detail while the picture moves
const REST_MS = 100;
const COARSE_RUN = 60; // pixels
const TALLEST_ROW = 40;
const GRID_LEAST = 3; // pixels of a cell below which a run is a mixture of its colours

export class HeapView extends EventTarget {
  constructor(canvas, model, options = {}) {
    super();
    this.canvas = canvas;
    this.ctx = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    this.t = options.texts ?? textsOf('en');
    this.showRows = options.rows ?? true;
    this.overlays = { fragmentation: true, residency: true, links: true };
    this.mode = 'state';
    this.selected = null;
    this.marked = new Set();
    this.found = null;
    this.frames = [];
    this.rowsCost = 0;
    this.movingUntil = 0;
    this.readTheme();
    this.adopt(model);
    this.u0 = -this.axis.length * 0.01;
    this.u1 = this.axis.length * 1.01;
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
    this.resize();
  }

  destroy() {
    this.observer.disconnect();
    cancelAnimationFrame(this.pending);
    clearTimeout(this.atRest);
    this.aborter.abort();
  }

  adopt(model) {
    this.model = model;
    this.axis = new Axis(model);
    const { leaves } = model;
    const u0 = new Float64Array(leaves.count);
    const u1 = new Float64Array(leaves.count);
    // Leaves come in order and a piece with leaves is to scale: one walk over both.
    const { pieces } = this.axis;
    let p = 0;
    for (let i = 0; i < leaves.count; i++) {
      while (p < pieces.length - 1 && pieces[p].to <= leaves.from[i]) p++;
      u0[i] = pieces[p].u + (leaves.from[i] - pieces[p].from) * pieces[p].scale;
      u1[i] = leaves.to[i] <= pieces[p].to ? pieces[p].u + (leaves.to[i] - pieces[p].from) * pieces[p].scale : this.axis.toU(leaves.to[i]);
    }
    this.leaves = { count: leaves.count, ref: leaves.ref, u0, u1 };
    this.sums = {};
    this.rowsKey = '';
  }

  setModel(model) {
    const { from, to } = this.range;
    const whole = this.u1 - this.u0 >= this.axis.length;
    const address = this.selected && this.model.rangeOf(this.selected).from;
    this.adopt(model);
    if (whole) this.showAll(false);
    else this.show(from, to, false);
    this.found = null;
    this.selected = address ? model.itemAt(address) : null;
    this.invalidate();
  }

  set texts(t) {
    this.t = t;
    this.invalidate();
  }

  get texts() {
    return this.t;
  }

  set colourBy(mode) {
    if (!(mode in modes)) throw new RangeError(`no colours by '${mode}'`);
    this.mode = mode;
    this.invalidate();
  }

  get colourBy() {
    return this.mode;
  }

  set dark(dark) {
    this.isDark = dark;
    this.readTheme();
    this.invalidate();
  }

  get dark() {
    return this.isDark;
  }

  set search(found) {
    this.found = found;
    this.invalidate();
  }

  readTheme() {
    const style = getComputedStyle(this.canvas);
    const of = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    this.isDark ??= matchMedia('(prefers-color-scheme: dark)').matches;
    this.css = {
      paper: of('--paper', this.isDark ? '#14181c' : '#faf9f6'),
      ink: of('--ink', this.isDark ? '#e6e9ec' : '#20262c'),
      faint: of('--faint', this.isDark ? '#9aa5af' : '#5c6670'),
      line: of('--line', this.isDark ? '#333b43' : '#d5d9dd'),
      accent: of('--accent', this.isDark ? '#ffb454' : '#b3261e'),
      font: of('--sans', 'system-ui, sans-serif'),
      mono: of('--mono', 'ui-monospace, monospace'),
    };
    this.paper = rgb(this.css.paper);
    this.paperPx = pack(this.paper);
    const ink = rgb(this.css.ink);
    this.soft = pack(mix(this.paper, ink, 0.06));
    this.softer = pack(mix(this.paper, ink, 0.13));
    this.linePx = pack(mix(this.paper, ink, 0.3));
    this.accentPx = pack(rgb(this.css.accent));
    this.palettes = {};
  }

  /* ---- what is on screen ---- */

  get range() {
    return { from: Math.floor(this.axis.toAddress(this.u0)), to: Math.ceil(this.axis.toAddress(this.u1)) };
  }

  get left() {
    return MARGIN;
  }

  get right() {
    return this.width - MARGIN;
  }

  get perU() {
    return (this.right - this.left) / (this.u1 - this.u0);
  }

  x(u) {
    return this.left + (u - this.u0) * this.perU;
  }

  uAt(x) {
    return this.u0 + (x - this.left) / this.perU;
  }

  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    if (box.width < 20 || box.height < 20) return;
    this.width = box.width;
    this.height = box.height;
    this.ratio = ratio;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.pixels = new Pixels(this.canvas.width, this.canvas.height);
    this.rowsKey = '';
    this.invalidate();
  }

  invalidate() {
    this.pending ??= requestAnimationFrame((now) => {
      this.pending = null;
      this.step(now);
    });
  }

  step(now) {
    if (this.motion) {
      const { from, to, start, duration } = this.motion;
      const s = Math.min(1, Math.max(0, (now - start) / duration));
      const e = 1 - (1 - s) ** 3;
      [this.u0, this.u1] = travel(from, to, e);
      if (s >= 1) this.motion = null;
      this.invalidate(); // after the last step once more, in full detail
      this.changed = true;
    }
    if (!this.pixels) return;
    this.coarse = this.rowsCost > COSTLY_MS && (Boolean(this.motion) || now < this.movingUntil);
    const began = performance.now();
    this.draw();
    this.frames.push(performance.now() - began);
    if (this.frames.length > 600) this.frames.splice(0, 300);
    if (this.changed) {
      this.changed = false;
      this.dispatchEvent(new CustomEvent('view', { detail: this.range }));
    }
  }

  goTo(u0, u1, animate = true, duration = 380) {
    const least = NARROWEST;
    const most = this.axis.length * 1.04;
    let width = Math.min(Math.max(u1 - u0, least), most);
    let start = (u0 + u1) / 2 - width / 2;
    const slack = width * 0.25;
    start = Math.min(Math.max(start, -slack), this.axis.length + slack - width);
    if (width >= this.axis.length) start = (this.axis.length - width) / 2;
    const to = [start, start + width];
    const still = !animate || matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (still) {
      this.motion = null;
      [this.u0, this.u1] = to;
      this.changed = true;
      this.movingUntil = performance.now() + REST_MS;
      clearTimeout(this.atRest);
      this.atRest = setTimeout(() => this.invalidate(), REST_MS + 20);
    } else this.motion = { from: [this.u0, this.u1], to, start: performance.now(), duration: duration * (isFar([this.u0, this.u1], to) ? 2 : 1) };
    this.target = to;
    this.invalidate();
  }

  /* Where the picture is going, if it moves: the next step of a zoom starts from there. */
  get aim() {
    return this.motion ? this.target : [this.u0, this.u1];
  }

  showAll(animate = true) {
    this.goTo(-this.axis.length * 0.01, this.axis.length * 1.01, animate);
  }

  show(from, to, animate = true) {
    const a = this.axis.toU(from);
    const b = Math.max(this.axis.toU(to), a + 1);
    const room = (b - a) * 0.06;
    this.goTo(a - room, b + room, animate);
  }

  showItem(item, animate = true) {
    const { from, to } = this.model.rangeOf(item);
    // A block is shown with a little of its neighbours.
    const room = item.kind === 'chunk' || item.kind === 'cell' ? Math.max((to - from) * 0.7, 24) : 0;
    this.show(from - room, to + room, animate);
  }

  /* So near that the words of the header can be read. */
  showHeader(item, animate = true) {
    const { from } = this.model.rangeOf(item);
    this.show(from - 4, from + 44, animate);
  }

  /* First the block, then its header. */
  approach(item) {
    const { from, to } = this.model.rangeOf(item);
    const [u0, u1] = this.aim;
    const near = this.axis.toU(from) >= u0 && this.axis.toU(to) <= u1 && u1 - u0 < 4 * Math.max(to - from, 64);
    if (near && (item.kind === 'chunk' || item.kind === 'cell')) this.showHeader(item);
    else this.showItem(item);
  }

  /* Brings an item on screen without changing the scale more than needed. */
  reveal(item) {
    const { from, to } = this.model.rangeOf(item);
    const a = this.axis.toU(from);
    const b = this.axis.toU(to);
    const [u0, u1] = this.aim;
    const width = (b - a) * this.perU;
    if (width < 6 || width > (this.right - this.left) * 1.2) this.showItem(item);
    else if (a < u0 || b > u1) this.goTo((a + b) / 2 - (u1 - u0) / 2, (a + b) / 2 + (u1 - u0) / 2);
  }

  zoom(factor, u = null, duration = 160) {
    const [u0, u1] = this.aim;
    const width = Math.min(Math.max((u1 - u0) / factor, NARROWEST), this.axis.length * 1.04);
    u ??= this.centreOfInterest();
    const share = (u - u0) / (u1 - u0);
    this.goTo(u - share * width, u + (1 - share) * width, true, duration);
  }

  pan(share, animate = true) {
    const [u0, u1] = this.aim;
    const by = (u1 - u0) * share;
    this.goTo(u0 + by, u1 + by, animate, 180);
  }

  /* The selection if it is on screen, else the middle. */
  centreOfInterest() {
    const [u0, u1] = this.aim;
    if (this.selected) {
      const { from, to } = this.model.rangeOf(this.selected);
      const u = (Math.max(this.axis.toU(from), u0) + Math.min(this.axis.toU(to), u1)) / 2;
      if (u > u0 && u < u1 && this.axis.toU(to) > u0 && this.axis.toU(from) < u1) return u;
    }
    return (u0 + u1) / 2;
  }

  select(item, { reveal = false } = {}) {
    this.selected = item;
    if (item && reveal) this.reveal(item);
    this.invalidate();
    this.dispatchEvent(new CustomEvent('select', { detail: item }));
  }

  selectAddress(address) {
    const item = this.model.itemAt(address);
    if (!item) return false;
    this.select(item);
    this.showItem(item);
    return true;
  }

  mark(addresses) {
    this.marked = new Set(addresses);
    this.invalidate();
  }

  /* ---- colours and sums of the mode ---- */

  sumsOf(name) {
    return (this.sums[name] ??= new Sums(this.model, modes[name], modes[name].buckets(this.model).length, this.leaves));
  }

  /* Bytes of each bucket in the whole heap. */
  totals(name) {
    const sums = this.sumsOf(name);
    const amounts = new Float64Array(sums.buckets);
    sums.between(0, this.axis.length, amounts);
    return amounts;
  }

  paletteOf(name) {
    return (this.palettes[name] ??= palette(modes[name].buckets(this.model), this.isDark, this.paper));
  }

  /* ---- drawing ---- */

  draw() {
    const { pixels, ratio } = this;
    this.notes = [];
    pixels.data.fill(this.paperPx);
    this.layout();
    this.drawSegments();
    const blocks = modes[this.mode].cell ? this.mode : 'state';
    const lanePx = (y) => Math.round(y * ratio);
    const shape = { x0: Math.round(this.left * ratio), x1: Math.round(this.right * ratio), grid: true };
    this.drawBand(this.u0, this.u1, { ...shape, y0: lanePx(LANE.blocks), y1: lanePx(this.blocksEnd) }, blocks);
    if (this.mode === 'residency') this.drawPages(this.u0, this.u1, shape.x0, shape.x1, lanePx(LANE.blocks), lanePx(this.blocksEnd), true);
    if (this.overlays.residency) this.drawPages(this.u0, this.u1, shape.x0, shape.x1, lanePx(this.pagesAt), lanePx(this.pagesAt + 7), false);
    if (this.fragmentationHeight > 2) this.drawFragmentation(lanePx(this.fragmentationAt), lanePx(this.fragmentationAt + this.fragmentationHeight));
    if (this.showRows) this.drawRows(blocks);
    this.ctx.setTransform(1, 0, 0, 1, 0, 0);
    this.ctx.putImageData(pixels.image, 0, 0);
    this.ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.writeNotes();
    this.writeRuler();
    this.writeMaps();
    this.writeSegments();
    if (this.wordsHeight > 8) this.writeWords();
    if (this.showRows) this.writeRowWords();
    this.writeBreak();
    if (this.overlays.links) this.writeLinks();
    this.writeMarks();
    this.writeSelection();
  }

  layout() {
    const perByte = this.perU;
    const near = smooth(0.8, 2.2, perByte);
    const bare = !this.showRows;
    let y = LANE.blocks + (bare ? Math.max(60, Math.min(150, this.height - 240)) : Math.min(110, this.height * 0.2));
    this.blocksEnd = y;
    if (this.overlays.residency) {
      this.pagesAt = y + 4;
      y += 12;
    }
    // A share of free bytes says nothing where single blocks are seen.
    this.fragmentationHeight = this.overlays.fragmentation ? 26 * (1 - smooth(0.02, 0.08, perByte)) : 0;
    if (this.fragmentationHeight) {
      this.fragmentationAt = y + 3;
      y += 6 + this.fragmentationHeight;
    }
    this.wordsAt = y + 6;
    this.wordsHeight = 74 * near;
    y += this.wordsHeight ? this.wordsHeight + 8 : 0;
    this.rowsAt = y + 20;
    const room = this.height - this.rowsAt - 10;
    const most = Math.max(1, Math.floor(room / 13));
    const span = this.u1 - this.u0;
    this.rowBytes = 2 ** Math.max(6, Math.ceil(Math.log2(span / most)));
    const end = Math.min(this.u1, this.axis.length);
    this.rowStart = Math.floor(Math.max(0, this.u0) / this.rowBytes) * this.rowBytes;
    this.rowCount = Math.min(most, Math.max(1, Math.ceil((end - this.rowStart) / this.rowBytes)));
    // Very near, the rows show more than the ribbon, before and after.
    const fit = Math.floor(room / TALLEST_ROW);
    if (this.rowCount < fit && span < this.axis.length) {
      this.rowStart = Math.max(0, this.rowStart - Math.floor((fit - this.rowCount) / 2) * this.rowBytes);
      this.rowCount = fit;
    }
    if (room < 30) this.rowCount = 0;
    this.rowHeight = Math.min(TALLEST_ROW, room / Math.max(1, this.rowCount));
  }

  drawSegments() {
    const { pixels, ratio } = this;
    for (const p of this.axis.pieces) {
      if (p.u > this.u1) break;
      const end = this.axis.toU(p.to);
      if (end < this.u0 || p.kind === 'gap') continue;
      const x0 = Math.round(Math.max(this.left, this.x(p.u)) * ratio);
      const x1 = Math.max(x0 + 1, Math.round(Math.min(this.right, this.x(end)) * ratio));
      if (p.region.heap) pixels.rect(x0, Math.round(LANE.blocks * ratio), x1, Math.round(this.blocksEnd * ratio), this.soft);
    }
  }

  /*
   * Leaves from u0 to u1 between x0 and x1, in device pixels. A leaf of two pixels and more is a rectangle; what is narrower is
   * shown a column at a time, by how many bytes of each colour it holds: stacked in the ribbon, mixed in the rows.
   */
  drawBand(u0, u1, shape, modeName) {
    const { x0, x1, y0, y1, grid, step = 1 } = shape;
    const { pixels, leaves, model } = this;
    const mode = modes[modeName];
    const paints = this.paletteOf(modeName);
    const sums = this.sumsOf(modeName);
    const perU = (x1 - x0) / (u1 - u0);
    const found = this.found;
    const amounts = new Float64Array(paints.length);
    let i = sums.firstAfter(u0, 0);
    let x = x0;
    while (x < x1 && i < leaves.count) {
      const u = u0 + (x - x0) / perU;
      while (i < leaves.count && leaves.u1[i] <= u) i = i + 1 < leaves.count && leaves.u1[i + 1] > u ? i + 1 : sums.firstAfter(u, i);
      if (i >= leaves.count) break;
      const startX = Math.round(x0 + (leaves.u0[i] - u0) * perU);
      if (startX >= x1) break;
      const endX = Math.round(x0 + (leaves.u1[i] - u0) * perU);
      if (startX > x) x = startX;
      if (endX - startX >= 2) {
        const to = Math.min(endX, x1);
        const ref = leaves.ref[i];
        if (ref >= 0) {
          const dim = found && !found.chunk[ref];
          const paint = paints[mode.chunk(model, ref)];
          pixels.swatch(x, y0, to, y1, paint, dim);
          if (endX - startX >= 4 && startX >= x0) pixels.rect(startX, y0, startX + 1, y1, this.paperPx);
          if (grid && endX - startX > 44 * this.ratio) this.noteOfChunk(ref, startX, endX, y0, y1, dim ? this.css.faint : paint.ink);
        } else this.drawRun(-1 - ref, i, { startX, endX, x, to, y0, y1, grid, perU, step }, mode, paints);
        x = to;
        i++;
        continue;
      }
      amounts.fill(0);
      const wide = Math.min(step, x1 - x);
      const b = u + wide / perU;
      const last = sums.between(u, b, amounts, i);
      const hit = !found || found.before[Math.min(last + 1, leaves.count)] > found.before[i];
      if (grid) this.stack(x, y0, x + 1, y1, amounts, paints, 1 / perU, !hit);
      else pixels.rect(x, y0, x + wide, y1, this.blend(amounts, paints, wide / perU, !hit));
      x += wide;
      i = Math.max(i, last);
    }
  }

  stack(x0, y0, x1, y1, amounts, paints, total, dim) {
    const scale = (y1 - y0) / total;
    let y = y1;
    for (let b = 0; b < amounts.length; b++) {
      if (!amounts[b]) continue;
      const top = Math.max(y0, Math.min(y - 1, Math.round(y - amounts[b] * scale)));
      this.pixels.rect(x0, top, x1, y, dim ? paints[b].dim : paints[b].fill);
      y = top;
      if (y <= y0) break;
    }
  }

  blend(amounts, paints, total, dim) {
    let r = 0;
    let g = 0;
    let b = 0;
    let sum = 0;
    for (let i = 0; i < amounts.length; i++) {
      const a = amounts[i];
      if (!a) continue;
      const c = dim ? paints[i].dimRgb : paints[i].rgb;
      r += c[0] * a;
      g += c[1] * a;
      b += c[2] * a;
      sum += a;
    }
    const rest = Math.max(0, total - sum);
    const all = sum + rest;
    const p = this.paper;
    return ((255 << 24) | (((b + p[2] * rest) / all) << 16) | (((g + p[1] * rest) / all) << 8) | ((r + p[0] * rest) / all)) >>> 0;
  }

  /* How a run's cells lie in a box of the ribbon: columns of `down` cells each, so that addresses still go left to right. */
  gridOf(stride, perU, height) {
    const side = Math.sqrt(stride * perU * height);
    const down = 2 ** Math.max(0, Math.round(Math.log2(height / Math.max(side, GRID_LEAST * 1.5))));
    return { down, columnWidth: stride * perU * down, rowHeight: height / down };
  }

  drawRun(index, leaf, at, mode, paints) {
    const { model, pixels, found } = this;
    const { startX, endX, x, to, y0, y1, grid, perU, step } = at;
    const run = model.runs[index];
    const width = endX - startX;
    const slack = paints[slackOf(mode, model)];
    const cells = run.owner == null ? null : model.cellsOf(index);
    if (!cells || !cells.length) {
      pixels.swatch(x, y0, to, y1, paints[mode.emptyRun(model, run)], Boolean(found));
      if (width >= 5) pixels.rect(startX, y0, startX + 1, y1, this.paperPx);
      return;
    }
    if (step > 1 && width < COARSE_RUN) {
      // All cells of the run as one colour.
      const amounts = new Float64Array(paints.length);
      this.sumsOf(modes[this.mode].cell ? this.mode : 'state').addLeaf(leaf, 1, amounts);
      pixels.rect(x, y0, to, y1, this.blend(amounts, paints, model.runBytes, Boolean(found)));
      return;
    }
    const matches = (i) => !found || found.cell(run, cells[i]);
    const X = (offset) => startX + offset * ((endX - startX) / model.runBytes);
    const first = model.cellFrom(run, 0) - run.at;
    const box = grid ? this.gridOf(run.stride, perU, y1 - y0) : { down: 1, columnWidth: run.stride * perU, rowHeight: y1 - y0 };
    if (box.columnWidth < GRID_LEAST || width < 16) {
      // Too small for cells: columns of pixels, each with the cells it covers.
      const amounts = new Float64Array(paints.length);
      const perPixel = model.runBytes / width;
      for (let px = x; px < to; px++) {
        amounts.fill(0);
        const from = Math.max(0, Math.floor(((px - startX) * perPixel - first) / run.stride));
        const end = Math.min(cells.length, Math.max(from + 1, Math.ceil(((px + 1 - startX) * perPixel - first) / run.stride)));
        let hit = !found;
        for (let i = from; i < end; i++) {
          amounts[mode.cell(model, run, cells[i])] += 1;
          if (!hit && matches(i)) hit = true;
        }
        if (end <= from) amounts[slackOf(mode, model)] = 1;
        const total = Math.max(1, end - from);
        if (grid) this.stack(px, y0, px + 1, y1, amounts, paints, total, !hit);
        else pixels.rect(px, y0, px + 1, y1, this.blend(amounts, paints, total, !hit));
      }
    } else {
      pixels.swatch(x, y0, to, y1, slack, Boolean(found));
      const columns = Math.ceil(cells.length / box.down);
      const perColumn = run.stride * box.down;
      const firstColumn = Math.max(0, Math.floor(((x - startX) * (model.runBytes / width) - first) / perColumn));
      const gapX = box.columnWidth >= 5 ? 1 : 0;
      const gapY = box.rowHeight >= 5 ? 1 : 0;
      for (let c = firstColumn; c < columns; c++) {
        const cx0 = Math.max(x, Math.round(X(first + c * perColumn)));
        if (cx0 >= to) break;
        const cx1 = Math.min(to, Math.round(X(first + (c + 1) * perColumn)) - gapX);
        for (let k = 0; k < box.down; k++) {
          const i = c * box.down + k;
          if (i >= cells.length) break;
          const cy0 = Math.round(y0 + k * box.rowHeight);
          const cy1 = Math.round(y0 + (k + 1) * box.rowHeight) - gapY;
          const paint = paints[mode.cell(model, run, cells[i])];
          if (cells[i] === 4 && !matches(i)) continue;
          pixels.swatch(cx0, cy0, cx1, cy1, paint, !matches(i));
        }
      }
      if (box.rowHeight >= 20 * this.ratio && box.columnWidth > 60 * this.ratio && grid) this.noteCells(run, cells, first, box, X, x, to, y0, mode, paints);
    }
    if (width >= 6 && startX >= at.x) pixels.rect(startX, y0, startX + Math.max(1, Math.round(this.ratio)), y1, this.paperPx);
  }

  noteCells(run, cells, first, box, X, x, to, y0, mode, paints) {
    const perColumn = run.stride * box.down;
    for (let c = 0; c * box.down < cells.length; c++) {
      const cx0 = X(first + c * perColumn);
      const cx1 = X(first + (c + 1) * perColumn);
      if (cx1 < x || cx0 > to) continue;
      for (let k = 0; k < box.down && c * box.down + k < cells.length; k++) {
        const i = c * box.down + k;
        this.notes.push({
          text: `${i} · ${this.t.bytes(run.stride)}`, x0: Math.max(cx0, x) / this.ratio, x1: Math.min(cx1, to) / this.ratio,
          y: (y0 + (k + 0.5) * box.rowHeight) / this.ratio, ink: this.found && !this.found.cell(run, cells[i]) ? this.css.faint : paints[mode.cell(this.model, run, cells[i])].ink,
        });
      }
    }
  }

  noteOfChunk(index, x0, x1, y0, y1, ink) {
    const { ratio } = this;
    const left = Math.max(x0 / ratio, this.left);
    const right = Math.min(x1 / ratio, this.right);
    const size = this.t.bytes(this.model.chunks.size[index]);
    const middle = (y0 + y1) / 2 / ratio;
    this.notes.push({ text: size, x0: left, x1: right, y: middle - (right - left > 90 ? 8 : 0), ink, bold: true });
    if (right - left > 90) this.notes.push({ text: this.t(`state.${this.model.chunks.state[index]}`), x0: left, x1: right, y: middle + 8, ink });
  }

  /* Which pages are in memory. As a thin line, or as the colour of everything. */
  drawPages(u0, u1, x0, x1, y0, y1, over) {
    const { pixels, model } = this;
    const paints = this.paletteOf('residency');
    const perU = (x1 - x0) / (u1 - u0);
    const page = model.pageSize;
    for (const p of this.axis.pieces) {
      const end = this.axis.toU(p.to);
      if (p.u > u1) break;
      if (end < u0 || p.kind === 'gap' || !p.region.heap) continue;
      const left = Math.max(x0, Math.round(x0 + (p.u - u0) * perU));
      const right = Math.min(x1, Math.round(x0 + (end - u0) * perU));
      let segment = null;
      let x = left;
      while (x < right) {
        const address = p.from + (u0 + (x + 0.5 - x0) / perU - p.u) / p.scale;
        if (!segment || address >= segment.to || address < segment.from) {
          const s = model.segmentAt(address);
          segment = s >= 0 ? model.segments[s] : null;
          if (!segment) {
            x++;
            continue;
          }
        }
        const state = model.pageState(segment, address);
        // A page that is wider than a pixel is one rectangle.
        const pageEnd = (Math.floor(address / page) + 1) * page;
        const next = Math.min(right, Math.max(x + 1, Math.round(x0 + (p.u + (pageEnd - p.from) * p.scale - u0) * perU)));
        const paint = paints[state < 0 ? RESIDENCY_UNKNOWN : state];
        if (over) this.tint(x, y0, next, y1, paint);
        else pixels.swatch(x, y0, next, y1, paint);
        x = next;
      }
    }
  }

  /* The colour of a page over the blocks, whose borders stay visible. */
  tint(x0, y0, x1, y1, paint) {
    const { data, width } = this.pixels;
    const paper = this.paperPx;
    for (let y = y0; y < y1; y++)
      for (let x = x0, at = y * width + x0; x < x1; x++, at++) if (data[at] !== paper) data[at] = paint.fill;
  }

  /* Of the bytes under each pixel that are not top, how many are free: what live blocks keep from going back. */
  drawFragmentation(y0, y1) {
    const { pixels, ratio } = this;
    const sums = this.sumsOf('state');
    const paints = this.paletteOf('state');
    const amounts = new Float64Array(paints.length);
    const x0 = Math.round(this.left * ratio);
    const x1 = Math.round(this.right * ratio);
    const perU = (x1 - x0) / (this.u1 - this.u0);
    const wide = Math.max(1, Math.round(3 * ratio)); // a bar; single pixels would flicker
    const reach = Math.max(1 / perU, 512);
    let hint = 0;
    pixels.rect(x0, y1 - 1, x1, y1, this.softer);
    for (let x = x0; x < x1; x += wide) {
      const middle = this.u0 + (x + wide / 2 - x0) / perU;
      amounts.fill(0);
      hint = sums.between(middle - Math.max(reach, wide / perU) / 2, middle + Math.max(reach, wide / perU) / 2, amounts, hint);
      const live = LIVE_BUCKETS.reduce((s, b) => s + amounts[b], 0);
      const free = FREE_BUCKETS.reduce((s, b) => s + amounts[b], 0);
      if (!live || !free) continue;
      const h = Math.round((free / (free + live)) * (y1 - y0));
      pixels.rect(x, y1 - h, x + wide - (wide > 2 ? 1 : 0), y1, paints[2].fill);
    }
  }

  drawRows(modeName) {
    const { pixels, ratio } = this;
    if (!this.rowCount) return;
    const key = [this.rowStart, this.rowBytes, this.rowCount, this.rowsAt, this.rowHeight, this.mode, this.isDark, this.found?.id, this.canvas.width, this.css.paper, this.coarse].join();
    const from = Math.round(this.rowsAt * ratio) * pixels.width;
    if (key === this.rowsKey && this.rowsPx) {
      pixels.data.set(this.rowsPx, from);
      return;
    }
    const began = performance.now();
    const step = this.coarse ? 3 : 1;
    const x0 = Math.round(GUTTER * ratio);
    const x1 = Math.round(this.right * ratio);
    for (let r = 0; r < this.rowCount; r++) {
      const u = this.rowStart + r * this.rowBytes;
      const y0 = Math.round((this.rowsAt + r * this.rowHeight) * ratio);
      const y1 = Math.round((this.rowsAt + (r + 1) * this.rowHeight - Math.min(3, this.rowHeight * 0.18)) * ratio);
      this.drawRowGround(u, x0, x1, y0, y1);
      this.drawBand(u, u + this.rowBytes, { x0, x1, y0, y1, grid: false, step }, modeName);
      if (this.mode === 'residency') this.drawPages(u, u + this.rowBytes, x0, x1, y0, y1, true);
    }
    this.rowsKey = key;
    if (!this.coarse) this.rowsCost = performance.now() - began;
    this.rowsPx = pixels.data.slice(from);
  }

  drawRowGround(u, x0, x1, y0, y1) {
    const { axis, pixels } = this;
    const perU = (x1 - x0) / this.rowBytes;
    for (let i = axis.pieceIndex(u); i < axis.pieces.length && axis.pieces[i].u < u + this.rowBytes; i++) {
      const p = axis.pieces[i];
      if (p.kind === 'gap') continue;
      const a = Math.max(x0, Math.round(x0 + (p.u - u) * perU));
      const b = Math.min(x1, Math.round(x0 + (axis.toU(p.to) - u) * perU));
      pixels.rect(a, y0, b, y1, p.region.heap ? this.soft : this.softer);
    }
  }

  /* ---- writing and lines, on the canvas itself ---- */

  write(text, x, y, { ink = this.css.ink, size = 11, bold = false, mono = false, align = 'left', most = Infinity } = {}) {
    const { ctx } = this;
    ctx.font = `${bold ? 600 : 400} ${size}px ${mono ? this.css.mono : this.css.font}`;
    ctx.textAlign = align;
    ctx.textBaseline = 'middle';
    ctx.fillStyle = ink;
    if (most < Infinity && ctx.measureText(text).width > most) {
      const keep = Math.floor((text.length * most) / ctx.measureText(text).width) - 1;
      if (keep < 2) return false;
      text = `${text.slice(0, keep)}…`;
    }
    ctx.fillText(text, x, y);
    return true;
  }

  writeNotes() {
    for (const n of this.notes) this.write(n.text, (n.x0 + n.x1) / 2, n.y, { ink: n.ink, bold: n.bold, align: 'center', most: n.x1 - n.x0 - 8 });
  }

  writeRuler() {
    const { ctx, axis } = this;
    let free = this.left;
    for (let i = axis.pieceIndex(this.u0); i < axis.pieces.length && axis.pieces[i].u < this.u1; i++) {
      const p = axis.pieces[i];
      if (p.kind === 'gap') continue;
      const perByte = this.perU * p.scale;
      const step = 2 ** Math.ceil(Math.log2(130 / perByte));
      const from = Math.max(p.from, axis.toAddress(this.u0));
      const to = Math.min(p.to, axis.toAddress(this.u1));
      for (let a = Math.ceil(from / step) * step; a <= to; a += step) {
        const x = this.x(p.u + (a - p.from) * p.scale);
        if (x < free || x > this.right - 40) continue;
        ctx.fillStyle = this.css.line;
        ctx.fillRect(x, 16, 1, 5);
        this.write(hex(a), x + 3, 11, { ink: this.css.faint, size: 10, mono: true });
        free = x + 112;
      }
    }
  }

  writeMaps() {
    const { ctx, axis, model } = this;
    const y = LANE.maps;
    for (let i = axis.pieceIndex(this.u0); i < axis.pieces.length && axis.pieces[i].u < this.u1; i++) {
      const p = axis.pieces[i];
      if (p.kind !== 'gap') continue;
      const x0 = Math.max(this.left, this.x(p.u));
      const x1 = Math.min(this.right, this.x(axis.toU(p.to)));
      if (x1 - x0 < 2) continue;
      ctx.strokeStyle = this.css.line;
      ctx.setLineDash([2, 3]);
      ctx.beginPath();
      ctx.moveTo(x0 + 1, y + 10);
      ctx.lineTo(x1 - 1, y + 10);
      ctx.stroke();
      ctx.setLineDash([]);
      if (x1 - x0 > 60) {
        const text = this.t('gap', { size: this.t.bytes(p.to - p.from) });
        ctx.font = `400 11px ${this.css.font}`;
        const w = Math.min(ctx.measureText(text).width, x1 - x0 - 10) + 8;
        ctx.fillStyle = this.css.paper;
        ctx.fillRect((x0 + x1 - w) / 2, y, w, 20);
        this.write(text, (x0 + x1) / 2, y + 10, { ink: this.css.faint, align: 'center', most: w });
      }
    }
    const { from, to } = this.range;
    for (let i = Math.max(0, this.firstRange(model.maps, from)); i < model.maps.length && model.maps[i].from < to; i++)
      this.box(model.maps[i], y, 20, labelOfMap(model.maps[i], this.t), this.kindColour(model.maps[i].kind), this.isAt('map', i));
  }

  writeSegments() {
    const { model } = this;
    const { from, to } = this.range;
    for (let i = Math.max(0, this.firstRange(model.segments, from)); i < model.segments.length && model.segments[i].from < to; i++)
      this.box(model.segments[i], LANE.segments, 20, labelOfSegment(model, model.segments[i], this.t), this.css.line, this.isAt('segment', i));
    // Wide enough runs say what they are.
    if (this.perU * model.runBytes > 90) {
      let leaf = this.sumsOf('state').firstAfter(this.u0, 0);
      for (; leaf < this.leaves.count && this.leaves.u0[leaf] < this.u1; leaf++) {
        const ref = this.leaves.ref[leaf];
        if (ref >= 0) continue;
        const run = model.runs[-1 - ref];
        this.box({ from: run.at, to: run.at + model.runBytes }, LANE.segments, 20, labelOfRun(model, run, this.t), this.css.line, this.isAt('run', -1 - ref));
      }
    }
  }

  isAt(kind, index) {
    return this.selected?.kind === kind && this.selected.index === index;
  }

  firstRange(ranges, address) {
    let i = 0;
    while (i < ranges.length && ranges[i].to <= address) i++;
    return i;
  }

  kindColour(kind) {
    const tone = { text: 0.1, data: 0.16, bss: 0.2, heap: 0.3, quarry: 0.3, stack: 0.2, vdso: 0.1, mapping: 0.12 }[kind] ?? 0.12;
    return `rgb(${mix(this.paper, rgb(this.css.ink), tone).join(' ')})`;
  }

  box(range, y, height, text, fill, chosen) {
    const { ctx } = this;
    const x0 = Math.max(this.left, this.x(this.axis.toU(range.from)));
    const x1 = Math.min(this.right, this.x(this.axis.toU(range.to)));
    if (x1 - x0 < 0.4) return;
    ctx.fillStyle = fill;
    ctx.beginPath();
    ctx.roundRect(x0 + 0.5, y, Math.max(1, x1 - x0 - 1), height, x1 - x0 > 8 ? 4 : 0);
    ctx.fill();
    if (chosen) {
      ctx.strokeStyle = this.css.accent;
      ctx.lineWidth = 2;
      ctx.stroke();
      ctx.lineWidth = 1;
    }
    if (x1 - x0 > 26) this.write(text, x0 + 7, y + height / 2, { ink: this.css.ink, most: x1 - x0 - 12 });
  }

  writeBreak() {
    const { ctx, model } = this;
    if (model.break == null) return;
    const x = this.x(this.axis.toU(model.break));
    if (x < this.left - 1 || x > this.right + 1) return;
    ctx.strokeStyle = this.css.accent;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(x, LANE.segments - 2);
    ctx.lineTo(x, this.blocksEnd + 4);
    ctx.stroke();
    ctx.lineWidth = 1;
    const text = this.t('programBreak');
    ctx.font = `600 10px ${this.css.font}`;
    const w = ctx.measureText(text).width;
    const left = x + w + 12 > this.right ? x - w - 8 : x + 5;
    ctx.fillStyle = this.css.paper;
    ctx.globalAlpha = 0.85;
    ctx.fillRect(left - 2, this.blocksEnd - 16, w + 4, 14);
    ctx.globalAlpha = 1;
    this.write(text, left, this.blocksEnd - 9, { ink: this.css.accent, size: 10, bold: true });
  }

  /* The words of each header on screen, a box of eight bytes each. */
  writeWords() {
    const { ctx, model } = this;
    const y = this.wordsAt;
    const h = this.wordsHeight;
    let leaf = this.sumsOf('state').firstAfter(this.u0, 0);
    ctx.globalAlpha = Math.min(1, h / 60);
    for (; leaf < this.leaves.count && this.leaves.u0[leaf] < this.u1; leaf++) {
      for (const item of this.itemsOfLeaf(leaf)) {
        for (const word of wordsOf(model, item, this.t)) {
          const x0 = this.x(this.axis.toU(word.from));
          const x1 = this.x(this.axis.toU(word.to));
          if (x1 < this.left || x0 > this.right) continue;
          const left = Math.max(x0, this.left);
          const right = Math.min(x1, this.right);
          ctx.fillStyle = word.header ? this.css.line : this.css.paper;
          ctx.strokeStyle = this.css.faint;
          ctx.beginPath();
          ctx.roundRect(left + 1, y, Math.max(1, right - left - 2), h - 6, 4);
          ctx.fill();
          ctx.globalAlpha *= 0.5;
          ctx.stroke();
          ctx.globalAlpha = Math.min(1, h / 60);
          if (h < 40) continue;
          this.write(word.label, left + 7, y + 14, { size: 11, bold: word.header, most: right - left - 12 });
          if (word.value) this.write(word.value, left + 7, y + 31, { size: 11, mono: true, most: right - left - 12 });
          if (word.note) this.write(word.note, left + 7, y + 48, { size: 10, ink: this.css.faint, most: right - left - 12 });
        }
      }
    }
    ctx.globalAlpha = 1;
  }

  /* The same words in the rows, once a byte is wide enough. Header words are multiples of eight, so none is cut by a row. */
  writeRowWords() {
    const { ctx, model } = this;
    const perByte = (this.right - GUTTER) / this.rowBytes;
    if (!this.rowCount || perByte < 5 || this.rowHeight < 18) return;
    const end = this.rowStart + this.rowCount * this.rowBytes;
    const height = this.rowHeight - Math.min(3, this.rowHeight * 0.18);
    let leaf = this.sumsOf('state').firstAfter(this.rowStart, 0);
    for (; leaf < this.leaves.count && this.leaves.u0[leaf] < end; leaf++)
      for (const item of this.itemsOfLeaf(leaf))
        for (const word of wordsOf(model, item, this.t)) {
          const u = this.axis.toU(word.from);
          const row = Math.floor((u - this.rowStart) / this.rowBytes);
          if (!word.header || row < 0 || row >= this.rowCount) continue;
          const x = GUTTER + (u - this.rowStart - row * this.rowBytes) * perByte;
          const y = this.rowsAt + row * this.rowHeight;
          const width = (word.to - word.from) * perByte;
          ctx.fillStyle = this.css.paper;
          ctx.globalAlpha = 0.86;
          ctx.fillRect(x + 2, y + 2, width - 3, height - 4);
          ctx.globalAlpha = 1;
          const two = height > 30 && word.value;
          this.write(word.label, x + 7, y + height / 2 - (two ? 7 : 0), { size: 10.5, bold: true, most: width - 10 });
          if (two) this.write(word.value, x + 7, y + height / 2 + 8, { size: 10.5, mono: true, most: width - 10 });
        }
  }

  itemsOfLeaf(leaf) {
    const ref = this.leaves.ref[leaf];
    if (ref >= 0) return [{ kind: 'chunk', index: ref }];
    const run = -1 - ref;
    const { model } = this;
    const cells = model.cellsOf(run);
    if (!cells.length) return [];
    const { from, to } = { from: Math.min(this.range.from, this.axis.toAddress(this.rowStart)), to: Math.max(this.range.to, this.axis.toAddress(this.rowStart + this.rowCount * this.rowBytes)) };
    const base = model.cellFrom(model.runs[run], 0);
    const { stride } = model.runs[run];
    const items = [];
    const end = Math.min(cells.length - 1, Math.floor((to - base) / stride));
    for (let i = Math.max(0, Math.floor((from - base) / stride)); i <= end; i++) items.push({ kind: 'cell', run, index: i });
    return items;
  }

  /*
   * The blocks on screen, at most `most`, and how many more there are; where those would be too many, mappings and segments.
   */
  itemsOnScreen(most) {
    const { model, leaves } = this;
    const sums = this.sumsOf('state');
    const first = sums.firstAfter(this.u0, 0);
    const last = sums.firstFrom(this.u1, first);
    const { from, to } = this.range;
    if (last - first > 20 * most || last === first) {
      const inView = (ranges, kind) => ranges.map((r, index) => ({ r, kind, index })).filter(({ r }) => r.from < to && r.to > from);
      const items = [...inView(model.maps, 'map'), ...inView(model.segments, 'segment')].sort((a, b) => a.r.from - b.r.from).map(({ kind, index }) => ({ kind, index }));
      return { items: items.slice(0, most), more: Math.max(0, items.length - most) + (last - first) };
    }
    const items = [];
    let more = 0;
    for (let leaf = first; leaf < last; leaf++) {
      const ref = leaves.ref[leaf];
      const few = ref < 0 && this.perU * model.runBytes > 400;
      const blocks = few ? this.itemsOfLeaf(leaf) : [ref >= 0 ? { kind: 'chunk', index: ref } : { kind: 'run', index: -1 - ref }];
      const room = Math.max(0, most - items.length);
      items.push(...blocks.slice(0, room));
      more += Math.max(0, blocks.length - room);
    }
    return { items, more };
  }

  /* Arcs from the selected free chunk to its neighbours in the bin. */
  writeLinks() {
    const { ctx, model, selected } = this;
    if (selected?.kind !== 'chunk') return;
    const c = selected.index;
    const number = model.chunks.list[c];
    if (number < 0) return;
    const { blocks } = model.lists[number];
    const place = model.chunks.place[c];
    const from = this.x(this.axis.toU(model.chunks.at[c] + 8));
    const arc = (address, dashed) => {
      if (address === undefined) return;
      const x = this.x(this.axis.toU(address + 8));
      const to = Math.min(this.right, Math.max(this.left, x));
      ctx.strokeStyle = this.css.accent;
      ctx.lineWidth = 1.5;
      ctx.setLineDash(dashed ? [4, 4] : []);
      ctx.beginPath();
      ctx.moveTo(from, LANE.blocks);
      const lift = Math.min(30, 8 + Math.abs(to - from) / 12);
      ctx.bezierCurveTo(from, LANE.blocks - lift, to, LANE.blocks - lift, to, LANE.blocks);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.lineWidth = 1;
    };
    if (from < this.left || from > this.right) return;
    arc(blocks[place + 1], false);
    arc(blocks[place - 1], true);
  }

  writeMarks() {
    const { ctx } = this;
    for (const address of this.marked) {
      const item = this.model.blockAt(address);
      if (item) this.outline(item, this.css.accent, true);
      else {
        const x = this.x(this.axis.toU(address));
        ctx.fillStyle = this.css.accent;
        ctx.fillRect(x - 1, LANE.blocks, 2, this.blocksEnd - LANE.blocks);
      }
    }
    for (const f of this.model.findings) {
      const u = this.axis.toU(f.address);
      const x = this.x(u);
      if (x < this.left || x > this.right) continue;
      ctx.fillStyle = this.css.accent;
      ctx.beginPath();
      ctx.moveTo(x, LANE.blocks - 1);
      ctx.lineTo(x - 6, LANE.blocks - 11);
      ctx.lineTo(x + 6, LANE.blocks - 11);
      ctx.fill();
    }
    if (this.found) this.writeHits();
  }

  /* A tick above everything found: dimming the rest cannot be seen where blocks are smaller than a pixel. */
  writeHits() {
    const { ctx, found } = this;
    const sums = this.sumsOf('state');
    ctx.fillStyle = this.css.accent;
    const step = 2;
    for (let x = this.left; x < this.right; x += step) {
      const a = sums.firstAfter(this.uAt(x), 0);
      const b = sums.firstFrom(this.uAt(x + step), a);
      if (a < this.leaves.count && (this.leaves.u1[a] - this.leaves.u0[a]) * this.perU > 6) continue;
      if (b > a && found.before[b] > found.before[a]) ctx.fillRect(x, LANE.blocks - 4, step, 3);
    }
  }

  writeSelection() {
    const { selected } = this;
    if (this.showRows) this.writeRowLabels();
    if (selected && (selected.kind === 'chunk' || selected.kind === 'cell' || selected.kind === 'run')) this.outline(selected, this.css.ink, false);
    if (this.hovered && !sameItem(this.hovered, selected) && (this.hovered.kind === 'chunk' || this.hovered.kind === 'cell')) this.outline(this.hovered, this.css.faint, true);
  }

  outline(item, colour, thin) {
    const { ctx, model } = this;
    const { from, to } = model.rangeOf(item);
    const a = this.axis.toU(from);
    const b = this.axis.toU(to);
    const draw = (x, y, w, h) => {
      if (!thin) {
        ctx.strokeStyle = this.css.paper;
        ctx.lineWidth = 5;
        ctx.strokeRect(x, y, w, h);
      }
      ctx.strokeStyle = colour;
      ctx.lineWidth = thin ? 1.5 : 2;
      ctx.strokeRect(x, y, w, h);
      ctx.lineWidth = 1;
    };
    let x0 = this.x(a);
    let x1 = this.x(b);
    let y0 = LANE.blocks;
    let y1 = this.blocksEnd;
    if (item.kind === 'cell') {
      const run = model.runs[item.run];
      const box = this.gridOf(run.stride, this.perU * this.ratio, (y1 - y0) * this.ratio);
      if (box.columnWidth >= GRID_LEAST && model.runBytes * this.perU * this.ratio >= 16) {
        const column = Math.floor(item.index / box.down);
        const first = this.axis.toU(model.cellFrom(run, column * box.down));
        x0 = this.x(first);
        x1 = this.x(first + run.stride * box.down);
        const top = y0 + ((item.index % box.down) * box.rowHeight) / this.ratio;
        y1 = top + box.rowHeight / this.ratio;
        y0 = top;
      }
    }
    if (x1 >= this.left && x0 <= this.right) {
      x0 = Math.max(x0, this.left - 3);
      x1 = Math.min(Math.max(x1, x0 + 2), this.right + 3);
      draw(x0, y0, x1 - x0, y1 - y0);
    }
    if (!this.showRows || !this.rowCount) return;
    const left = GUTTER;
    const width = this.right - GUTTER;
    const firstRow = Math.max(0, Math.floor((a - this.rowStart) / this.rowBytes));
    const lastRow = Math.min(this.rowCount - 1, Math.floor((b - 1 - this.rowStart) / this.rowBytes));
    for (let r = firstRow; r <= Math.min(lastRow, firstRow + 80); r++) {
      const u = this.rowStart + r * this.rowBytes;
      const rx0 = left + (Math.max(0, a - u) / this.rowBytes) * width;
      const rx1 = left + (Math.min(this.rowBytes, b - u) / this.rowBytes) * width;
      draw(rx0, this.rowsAt + r * this.rowHeight, Math.max(2, rx1 - rx0), this.rowHeight - Math.min(3, this.rowHeight * 0.18));
    }
  }

  writeRowLabels() {
    if (!this.rowCount) return;
    this.write(this.t('rowsOf', { size: this.t.bytes(this.rowBytes) }), GUTTER, this.rowsAt - 10, { ink: this.css.faint, size: 11 });
    const every = Math.max(1, Math.ceil(14 / this.rowHeight));
    for (let r = 0; r < this.rowCount; r += every) {
      const u = this.rowStart + r * this.rowBytes;
      this.write(this.rowLabel(u), GUTTER - 8, this.rowsAt + (r + 0.5) * this.rowHeight - 1, { ink: this.css.faint, size: 10, mono: true, align: 'right' });
    }
  }

  /* The address of the first byte that is to scale in the row that begins at u. */
  rowLabel(u) {
    const { axis } = this;
    for (let i = axis.pieceIndex(u); i < axis.pieces.length && axis.pieces[i].u < u + this.rowBytes; i++)
      if (axis.pieces[i].region?.heap) return hex(Math.max(axis.pieces[i].from, axis.toAddress(Math.max(u, axis.pieces[i].u))));
    return '⋯';
  }

  /* ---- hits ---- */

  itemAtPoint(x, y) {
    const { model, axis } = this;
    if (y < LANE.segments - 2 || (y < LANE.blocks - 2 && x >= 0)) {
      const u = this.uAt(x);
      const piece = axis.pieces[axis.pieceIndex(u)];
      if (u < 0 || u > axis.length || piece.kind === 'gap') return null;
      const address = axis.toAddress(u);
      if (y >= LANE.segments - 2) {
        const leaf = model.leafAt(address);
        if (leaf >= 0 && model.leaves.ref[leaf] < 0 && this.perU * model.runBytes > 90) return { kind: 'run', index: -1 - model.leaves.ref[leaf] };
        const s = model.segmentAt(address);
        if (s >= 0) return { kind: 'segment', index: s };
      }
      const m = model.mapAt(address);
      return m >= 0 ? { kind: 'map', index: m } : null;
    }
    const u = this.uAtPoint(x, y);
    if (u == null || axis.pieces[axis.pieceIndex(u)].kind === 'gap') return null;
    const item = model.itemAt(axis.toAddress(u));
    if (item?.kind === 'cell' && y < this.blocksEnd) return this.cellInGrid(item, x, y);
    return item;
  }

  cellInGrid(item, x, y) {
    const { model } = this;
    const run = model.runs[item.run];
    const box = this.gridOf(run.stride, this.perU * this.ratio, (this.blocksEnd - LANE.blocks) * this.ratio);
    if (box.columnWidth < GRID_LEAST || model.runBytes * this.perU * this.ratio < 16) return item;
    const first = this.x(this.axis.toU(model.cellFrom(run, 0)));
    const column = Math.floor(((x - first) * this.ratio) / box.columnWidth);
    const row = Math.min(box.down - 1, Math.floor(((y - LANE.blocks) * this.ratio) / box.rowHeight));
    const index = column * box.down + row;
    return index >= 0 && index < model.cellsOf(item.run).length ? { kind: 'cell', run: item.run, index } : { kind: 'run', index: item.run };
  }

  uAtPoint(x, y) {
    let u;
    if (this.showRows && this.rowCount && y >= this.rowsAt - 4) {
      const row = Math.floor((y - this.rowsAt) / this.rowHeight);
      if (row < 0 || row >= this.rowCount || x < GUTTER) return null;
      u = this.rowStart + (row + (x - GUTTER) / (this.right - GUTTER)) * this.rowBytes;
    } else u = this.uAt(x);
    return u >= 0 && u <= this.axis.length ? u : null;
  }

  /* ---- pointer and keyboard ---- */

  listen() {
    this.aborter = new AbortController();
    const on = (type, handler, options) => this.canvas.addEventListener(type, handler, { signal: this.aborter.signal, ...options });
    const pointers = new Map();
    let moved = 0;
    let pinch = null;
    const place = (e) => {
      const box = this.canvas.getBoundingClientRect();
      return [e.clientX - box.left, e.clientY - box.top];
    };
    on('wheel', (e) => {
      e.preventDefault();
      const unit = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 200 : 1;
      const [x, y] = place(e);
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
        const by = (e.deltaX || e.deltaY) * unit;
        this.pan(by / (this.right - this.left), false);
        return;
      }
      const speed = e.ctrlKey ? 0.012 : 0.0028;
      this.zoom(Math.exp(-e.deltaY * unit * speed), this.uAtPoint(x, y) ?? this.uAt(x), e.ctrlKey ? 60 : 140);
    }, { passive: false });
    on('pointerdown', (e) => {
      this.canvas.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, place(e));
      moved = pointers.size > 1 ? 99 : 0;
      pinch = null;
    });
    on('pointermove', (e) => {
      const [x, y] = place(e);
      const last = pointers.get(e.pointerId);
      if (!last) {
        const item = this.itemAtPoint(x, y);
        if (!sameItem(item, this.hovered)) {
          this.hovered = item;
          this.invalidate();
          this.dispatchEvent(new CustomEvent('hover', { detail: { item, x, y } }));
        }
        return;
      }
      pointers.set(e.pointerId, [x, y]);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
        const middle = (a[0] + b[0]) / 2;
        if (pinch) {
          const [u0, u1] = [this.u0, this.u1];
          const width = (u1 - u0) * (pinch.distance / Math.max(1, distance));
          const u = this.uAt(pinch.middle);
          const share = (middle - this.left) / (this.right - this.left);
          this.goTo(u - share * width, u + (1 - share) * width, false);
        }
        pinch = { distance, middle };
        return;
      }
      moved += Math.abs(x - last[0]) + Math.abs(y - last[1]);
      if (moved > 4) {
        this.canvas.classList.add('dragging');
        const inRows = this.showRows && y >= this.rowsAt;
        // In the rows, up and down moves by rows.
        const by = inRows
          ? ((last[1] - y) / this.rowHeight) * this.rowBytes + ((last[0] - x) / (this.right - GUTTER)) * this.rowBytes
          : (last[0] - x) / this.perU;
        this.goTo(this.u0 + by, this.u1 + by, false);
      }
    });
    const up = (e) => {
      const was = pointers.delete(e.pointerId);
      this.canvas.classList.remove('dragging');
      if (was && e.type === 'pointerup' && moved <= 4) {
        const [x, y] = place(e);
        this.select(this.itemAtPoint(x, y));
      }
    };
    on('pointerup', up);
    on('pointercancel', up);
    on('pointerleave', () => {
      if (this.hovered) {
        this.hovered = null;
        this.invalidate();
        this.dispatchEvent(new CustomEvent('hover', { detail: { item: null } }));
      }
    });
    on('dblclick', (e) => {
      const [x, y] = place(e);
      const item = this.itemAtPoint(x, y);
      const u = this.uAtPoint(x, y) ?? this.uAt(x);
      // A block that is too narrow to be seen is zoomed towards, not jumped to.
      const { from, to } = item ? this.model.rangeOf(item) : { from: 0, to: 0 };
      if (item && (to - from) * this.perU > 12) this.approach(item);
      else this.zoom(8, u, 380);
    });
    on('keydown', (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      if (this.key(e.key, e.shiftKey)) e.preventDefault();
    });
  }

  key(key, shift) {
    const step = shift ? 0.8 : 0.15;
    switch (key) {
      case '+':
      case '=':
      case 'ArrowUp':
        this.zoom(1.6);
        return true;
      case '-':
      case '_':
      case 'ArrowDown':
        this.zoom(1 / 1.6);
        return true;
      case 'ArrowLeft':
        this.pan(-step);
        return true;
      case 'ArrowRight':
        this.pan(step);
        return true;
      case 'PageUp':
        this.pan(-0.9);
        return true;
      case 'PageDown':
        this.pan(0.9);
        return true;
      case 'Home':
      case '0':
        this.showAll();
        return true;
      case 'n':
      case '.':
        return this.walk(1);
      case 'p':
      case ',':
        return this.walk(-1);
      case 'Enter':
        if (this.selected) this.approach(this.selected);
        else this.selectMiddle();
        return true;
      case ' ':
        this.selectMiddle();
        return true;
      case 'Escape':
        if (!this.selected) return false;
        this.select(null);
        return true;
      default:
        return false;
    }
  }

  walk(step) {
    if (!this.selected) {
      this.selectMiddle();
      return true;
    }
    const next = this.model.neighbour(this.selected, step);
    if (next) this.select(next, { reveal: true });
    return true;
  }

  selectMiddle() {
    const [u0, u1] = this.aim;
    const item = this.model.blockAt(this.axis.toAddress((u0 + u1) / 2)) ?? this.nearest((u0 + u1) / 2);
    if (item) this.select(item);
  }

  nearest(u) {
    const i = Math.min(this.leaves.count - 1, this.sumsOf('state').firstAfter(u, 0));
    return i < 0 ? null : this.model.blockAt(this.model.leaves.from[i]);
  }
}

/* From one stretch to another so that it looks like one steady zoom: the width changes by a constant factor. */
function between([a0, a1], [b0, b1], s) {
  if (s >= 1) return [b0, b1];
  const wa = a1 - a0;
  const wb = b1 - b0;
  const w = wa * (wb / wa) ** s;
  if (Math.abs(wa - wb) < wa * 1e-6) {
    const start = a0 + (b0 - a0) * s;
    return [start, start + w];
  }
  const still = (a0 * wb - b0 * wa) / (wb - wa); // where both stretches have the same point
  const start = still - ((still - a0) * w) / wa;
  return [start, start + w];
}

function spanOf(a, b) {
  return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
}

function isFar(a, b) {
  const [u0, u1] = spanOf(a, b);
  return u1 - u0 > 3 * Math.max(a[1] - a[0], b[1] - b[0]);
}

/* A place far off is reached by zooming out until both are in sight, then in: one sees where one goes. */
function travel(from, to, s) {
  if (!isFar(from, to)) return between(from, to, s);
  const both = spanOf(from, to);
  return s < 0.5 ? between(from, both, 2 * s) : between(both, to, 2 * s - 1);
}

function smooth(a, b, x) {
  const s = Math.min(1, Math.max(0, (x - a) / (b - a)));
  return s * s * (3 - 2 * s);
}
