/* Writing: words, boxes, arcs and outlines over the blocks, on the canvas itself. */
import { mix, rgb } from './colours.js';
import { labelOfMap, labelOfRun, labelOfSegment, wordsOf } from './describe.js';
import { hex } from './format.js';
import { GRID_LEAST, GUTTER, LANE } from './lanes.js';
import { Painting } from './painting.js';
import { sameItem } from './snapshot.js';

export class Writing extends Painting {
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
}
