/*
 * Stretch: which part of the axis is on screen, how it moves, what is selected; the colours and sums of the current mode. The base of the
 * picture: painting.js fills the blocks, writing.js puts words and lines over them, heapview.js listens to pointer and keys.
 */
import { Axis } from './axis.js';
import { mix, modes, pack, palette, rgb } from './colours.js';
import { MARGIN } from './lanes.js';
import { Pixels } from './pixels.js';
import { Sums } from './sums.js';
import { texts as textsOf } from './texts/index.js';

const NARROWEST = 48; // bytes on screen
const COSTLY_MS = 10; // rows that take longer are drawn with less detail while the picture moves
const REST_MS = 100;

export class Stretch extends EventTarget {
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
