/*
 * HeapView: the picture. A *ribbon* shows a stretch of the address space from left to right: mappings, segments, then chunks and runs to
 * scale, which pages are in memory, how much is free between live blocks, and, near enough, the words of each header. Below it,
 * the *rows* show the same stretch cut into lines of a power of two of bytes, as a page of text.
 *
 * Positions are `u` on the axis (axis.js); `x`, `y` are CSS pixels, and device pixels where a name ends in Px.
 */
import { modes } from './colours.js';
import { GRID_LEAST, GUTTER, LANE } from './lanes.js';
import { sameItem } from './snapshot.js';
import { Writing } from './writing.js';

export class HeapView extends Writing {
  constructor(canvas, model, options) {
    super(canvas, model, options);
    this.listen();
  }

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
