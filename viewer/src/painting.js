/* Painting: blocks, pages and rows as pixels. */
import { FREE_BUCKETS, LIVE_BUCKETS, RESIDENCY_UNKNOWN, modes, slackOf } from './colours.js';
import { GRID_LEAST, GUTTER, LANE, TALLEST_ROW } from './lanes.js';
import { CELL } from './snapshot.js';
import { Stretch } from './stretch.js';

const STACKED = 6; // device pixels: higher columns show their colours one above the other
const COARSE_RUN = 60; // device pixels: narrower runs are one colour while the picture moves

export class Painting extends Stretch {
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
   * shown a column at a time, by how many bytes of each colour it holds: stacked, as far as a row is high enough, else mixed.
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
      if (y1 - y0 >= STACKED) this.stack(x, y0, x + wide, y1, amounts, paints, wide / perU, !hit);
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
        if (y1 - y0 >= STACKED) this.stack(px, y0, px + 1, y1, amounts, paints, total, !hit);
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
          if (cells[i] === CELL.uncarved && !matches(i)) continue;
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
}

function smooth(a, b, x) {
  const s = Math.min(1, Math.max(0, (x - a) / (b - a)));
  return s * s * (3 - 2 * s);
}
