/*
 * Inspector: the side panel that says everything about the selected item. Links in it select what they name.
 */
import { modes, palette, rgb } from './colours.js';
import { describe, stateKey, titleOf } from './describe.js';
import { el } from './dom.js';
import { CELL } from './snapshot.js';

const GRID_CELL = 9;

export class Inspector {
  /* `onlist(number)`: a link to a list was followed. */
  constructor(element, view, { onlist } = {}) {
    this.element = element;
    this.view = view;
    this.onlist = onlist;
  }

  show(item) {
    this.item = item;
    const { model, t } = this.view;
    if (!item) {
      this.element.replaceChildren(el('p', { class: 'hint' }, t('nothingSelected')));
      return;
    }
    const key = stateKey(model, item);
    const kind = t(`kindOf.${item.kind}`);
    this.element.replaceChildren(
      el(
        'header',
        { class: 'item-head' },
        el('p', { class: 'kind' }, key ? el('span', { class: 'swatch', style: this.swatch(item) }) : null, kind),
        el('h2', {}, titleOf(model, item, t)),
        el(
          'p',
          { class: 'actions' },
          this.action('◂', 'previousBlock', () => this.follow(model.neighbour(item, -1))),
          this.action('▸', 'nextBlock', () => this.follow(model.neighbour(item, 1))),
          this.action(t('zoomTo'), 'zoomTo', () => this.view.showItem(item)),
          item.kind === 'chunk' || item.kind === 'cell' ? this.action(t('header'), 'zoomToHeader', () => this.view.showHeader(item)) : null,
        ),
      ),
      ...describe(model, item, t).map((section) => this.section(section)),
    );
  }

  action(text, label, onclick) {
    const { t } = this.view;
    return el('button', { type: 'button', 'aria-label': t(label), title: t(label), onclick }, text);
  }

  follow(item) {
    if (item) this.view.select(item, { reveal: true });
  }

  swatch(item) {
    const { view } = this;
    const mode = modes.state;
    const colours = palette(mode.buckets(view.model), view.dark, rgb(view.css.paper));
    const bucket = item.kind === 'chunk' ? mode.chunk(view.model, item.index) : mode.cell(view.model, view.model.runs[item.run], view.model.cellsOf(item.run)[item.index]);
    return `background:${colours[bucket].css}`;
  }

  section({ title, rows, grid }) {
    const list = rows.length ? el('dl', {}, rows.map((row) => this.row(row))) : null;
    return el('section', {}, title ? el('h3', {}, title) : null, list, grid === undefined ? null : this.grid(grid));
  }

  row({ label, value, note, item, list, copy, flag }) {
    let shown = value;
    if (item) shown = el('button', { type: 'button', class: 'link', onclick: () => this.follow(item) }, value || titleOf(this.view.model, item, this.view.t));
    else if (list !== undefined && this.onlist) shown = el('button', { type: 'button', class: 'link', onclick: () => this.onlist(list) }, value);
    else if (copy) shown = el('code', {}, value);
    else if (/^0x[0-9a-f]+$/.test(value)) shown = el('code', {}, value);
    return el('div', { class: flag ? 'flag' : null }, el('dt', {}, label), el('dd', {}, shown, note ? el('span', { class: 'note' }, note) : null));
  }

  /* All cells of a run, as they lie. The canvas is for the eye; the arrows walk through the cells. */
  grid(index) {
    const { view } = this;
    const { model, t } = view;
    const run = model.runs[index];
    const cells = model.cellsOf(index);
    const columns = Math.max(8, Math.min(32, Math.round(Math.sqrt(cells.length * 1.6))));
    const lines = Math.ceil(cells.length / columns);
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const canvas = el('canvas', {
      class: 'run-grid', width: columns * GRID_CELL * ratio, height: lines * GRID_CELL * ratio, tabindex: 0, role: 'img',
      'aria-label': t('gridLabel', { cells: t.count(cells.length), size: t.bytes(run.stride) }),
      style: `width:${columns * GRID_CELL}px;height:${lines * GRID_CELL}px`,
    });
    const ctx = canvas.getContext('2d');
    ctx.scale(ratio, ratio);
    const colours = palette(modes.state.buckets(model), view.dark, rgb(view.css.paper));
    cells.forEach((state, i) => {
      const x = (i % columns) * GRID_CELL;
      const y = Math.floor(i / columns) * GRID_CELL;
      ctx.fillStyle = colours[modes.state.cell(model, run, state)].css;
      ctx.fillRect(x + 0.5, y + 0.5, GRID_CELL - 1.5, GRID_CELL - 1.5);
      if (state === CELL.remote || state === CELL.cached) {
        ctx.fillStyle = view.css.paper;
        ctx.fillRect(x + 3, y + 3, state === CELL.remote ? 2 : 3, state === CELL.remote ? 2 : 1);
      }
    });
    if (this.item.kind === 'cell') {
      ctx.strokeStyle = view.css.ink;
      ctx.lineWidth = 2;
      ctx.strokeRect((this.item.index % columns) * GRID_CELL, Math.floor(this.item.index / columns) * GRID_CELL, GRID_CELL - 1, GRID_CELL - 1);
    }
    const choose = (i) => {
      if (i < 0 || i >= cells.length) return;
      view.select({ kind: 'cell', run: index, index: i }, { reveal: true });
      this.element.querySelector('.run-grid')?.focus();
    };
    canvas.addEventListener('click', (e) => {
      const box = canvas.getBoundingClientRect();
      choose(Math.floor(((e.clientY - box.top) / box.height) * lines) * columns + Math.floor(((e.clientX - box.left) / box.width) * columns));
    });
    canvas.addEventListener('keydown', (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[e.key];
      if (!step) return;
      e.preventDefault();
      choose(this.item.kind === 'cell' ? this.item.index + step : 0);
    });
    return canvas;
  }
}
