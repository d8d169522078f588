/* Every bin and every stack as the list it is, in order; each entry leads to the picture. */
import { ownerOf } from './describe.js';
import { el } from './dom.js';
import { hex } from './format.js';
import { modes, palette, rgb } from './colours.js';
import { sameItem } from './snapshot.js';

const PAGE = 120; // entries shown at once

export class Lists {
  constructor(element, view) {
    this.element = element;
    this.view = view;
  }

  show() {
    const { model, t } = this.view;
    this.details = new Map();
    const numbers = model.lists.map((l, i) => ({ l, i })).sort((a, b) => rankOf(a.l) - rankOf(b.l) || a.l.index - b.l.index || a.l.from - b.l.from);
    const sections = model.arenas.map((arena, a) => this.section(arenaTitle(model, a, t), numbers.filter(({ l }) => l.type === 'bin' && l.arena === a), this.arenaNotes(a)));
    model.caches.forEach((cache, c) => sections.push(this.section(ownerOf(model, c, t), numbers.filter(({ l }) => l.type !== 'bin' && l.cache === c))));
    this.element.replaceChildren(el('p', { class: 'hint' }, t(model.listsRead ? 'listsHint' : 'listsNotRead')), ...sections);
  }

  arenaNotes(a) {
    const { model, t } = this.view;
    const arena = model.arenas[a];
    const rows = [];
    for (const [key, address] of [['top', arena.top], ['lastRemainder', arena.last_remainder]]) {
      const item = address ? model.blockAt(address) : null;
      if (item) rows.push(el('div', {}, el('dt', {}, t(key)), el('dd', {}, this.link(item, address))));
    }
    return rows.length ? el('dl', {}, rows) : null;
  }

  link(item, address) {
    return el('button', { type: 'button', class: 'link', onclick: () => this.view.select(item, { reveal: true }) }, hex(address));
  }

  section(title, entries, notes = null) {
    const { t } = this.view;
    const full = entries.filter(({ l }) => l.blocks.length);
    const empty = entries.length - full.length;
    const rest = full.length ? t(empty ? 'emptyBins' : 'otherBinsEmpty', { n: t.count(empty) }) : t('allEmpty');
    return el('section', {}, el('h3', {}, title), notes, full.map(({ l, i }) => this.list(l, i)), el('p', { class: 'hint' }, rest));
  }

  list(l, number) {
    const { model, t } = this.view;
    const bytes = l.blocks.reduce((sum, address) => sum + this.sizeOf(address, l), 0);
    const body = el('div', {});
    const range = l.kind === 'unsorted' || l.kind === 'inbox' ? '' : l.from === l.to ? t.bytes(l.from) : `${t.bytes(l.from)} – ${l.to == null || l.to >= 2 ** 40 ? '…' : t.bytes(l.to)}`;
    const short = l.type === 'bin' ? t(`binShort.${l.kind}`, { n: l.index }) : t(`stackShort.${l.type}`);
    const limit = l.limit ? ` / ${t.count(l.limit)}` : '';
    const details = el(
      'details',
      {},
      el('summary', {}, el('span', {}, `${short} ${range}`), el('span', { class: 'amount' }, `${t.count(l.blocks.length)}${limit} · ${t.bytes(bytes)}`)),
      body,
    );
    details.addEventListener('toggle', () => details.open && !body.firstChild && this.fill(body, l));
    this.details.set(number, details);
    return details;
  }

  sizeOf(address, l) {
    if (l.type === 'cells') return l.from;
    const i = this.view.model.chunkIndex(address);
    return i < 0 ? 0 : this.view.model.chunks.size[i];
  }

  fill(body, l, upTo = PAGE) {
    const { view } = this;
    const { model, t } = view;
    const colours = palette(modes.state.buckets(model), view.dark, rgb(view.css.paper));
    const double = l.kind === 'small' || l.kind === 'large' || l.kind === 'unsorted';
    const entries = l.blocks.slice(0, upTo).map((address) => {
      const item = model.blockAt(address);
      if (!item) return el('li', {}, el('code', {}, hex(address)));
      const bucket = item.kind === 'chunk' ? modes.state.chunk(model, item.index) : item.kind === 'cell' ? modes.state.cell(model, model.runs[item.run], model.cellsOf(item.run)[item.index]) : 0;
      return el(
        'li',
        {},
        el('button', { type: 'button', style: `--tone:${colours[bucket].css}`, 'aria-pressed': sameItem(item, view.selected) ? 'true' : 'false', onclick: (e) => this.choose(item, e.currentTarget) }, hex(address), el('small', {}, t.bytes(this.sizeOf(address, l)))),
      );
    });
    body.replaceChildren(
      el('ol', { class: double ? 'chain double' : 'chain' }, el('li', { class: 'head' }, t(double ? 'binHead' : 'nextOut')), entries),
      ...(l.blocks.length > upTo ? [el('button', { type: 'button', onclick: () => this.fill(body, l, upTo + 4 * PAGE) }, t('showMore', { n: t.count(l.blocks.length - upTo) }))] : []),
    );
  }

  choose(item, button) {
    this.view.select(item, { reveal: true });
    for (const other of this.element.querySelectorAll('.chain button')) other.setAttribute('aria-pressed', other === button ? 'true' : 'false');
  }

  /* Opens one list and goes there. */
  open(number) {
    const details = this.details.get(number);
    if (!details) return;
    details.open = true;
    details.querySelector('summary').focus();
    details.scrollIntoView({ block: 'start' });
  }
}

function rankOf(l) {
  return ['fast', 'unsorted', 'small', 'large', 'inbox'].indexOf(l.kind);
}

function arenaTitle(model, a, t) {
  return t('arenaTitle', { n: a, which: t(model.arenas[a].main ? 'arenaMain' : 'arenaOther') });
}

