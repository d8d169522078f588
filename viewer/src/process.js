/*
 * The process as textbooks draw it: one column, high addresses on top, the stack above, text and data below, the break where it
 * stands. Heights are by the logarithm of the size: here everything is to be seen, the ribbon is for proportions.
 */
import { el } from './dom.js';
import { hex } from './format.js';

const NEAR = 2 ** 30; // neighbours of one kind that are closer than this are one entry
const GAP_SHOWN = 2 ** 20;
const GUARD_MOST = 2 ** 18;
const SMALL = 4 * 2 ** 20;
const TONES = { text: '#7d8790', data: '#9b7fb0', bss: '#a98f6b', heap: '#4079b3', quarry: '#4079b3', stack: '#0a9a6a', vdso: '#7d8790', library: '#8f99a3', mapping: '#b3aa9a' };

/* { from, to, key, heap, tone, count, name }, lowest first. */
export function groupsOf(model) {
  const groups = [];
  model.maps.forEach((map, i) => {
    const segment = firstSegmentIn(model, map);
    const key = segment && map.kind !== 'heap' ? `segment.${segment.kind}` : keyOf(model, map, i);
    const last = groups[groups.length - 1];
    if (last?.key === 'libraries' && !segment && key !== 'threadStacks' && belongsToLibrary(map, last)) {
      last.to = map.to;
      return;
    }
    if (last && last.key === key && map.from - last.to < NEAR && !(key === 'map.stack')) {
      last.to = map.to;
      last.count++;
    } else
      groups.push({ from: map.from, to: map.to, key, heap: Boolean(segment) || map.kind === 'heap', kind: map.kind, count: 1, name: key === 'map.stack' ? map.name : '', tone: TONES[key === 'libraries' ? 'library' : key === 'threadStacks' ? 'stack' : map.kind] ?? TONES.mapping });
  });
  if (!groups.length)
    for (const s of model.segments) groups.push({ from: s.from, to: s.to, key: `segment.${s.kind}`, heap: true, kind: 'quarry', count: 1, name: '', tone: TONES.quarry });
  return groups;
}

/* bss, and what the loader puts between the libraries. */
function belongsToLibrary(map, last) {
  return ['bss', 'data', 'mapping', 'quarry'].includes(map.kind) && map.from - last.to < SMALL && map.to - map.from <= SMALL;
}

function keyOf(model, map, i) {
  const { maps } = model;
  if (isGuardOf(map, maps[i + 1]) || (i && isGuardOf(maps[i - 1], map))) return 'threadStacks';
  if (isClosed(map)) return 'reserved';
  if (['text', 'data', 'bss'].includes(map.kind) && map.name && map.name !== model.process.executable) return 'libraries';
  return `map.${map.kind}`;
}

const isClosed = (map) => map.perms?.startsWith('---');

/* The kernel does not say whose stack a mapping is; but behind a closed page lies what a thread library makes for one. */
function isGuardOf(guard, map) {
  return map && isClosed(guard) && guard.to - guard.from <= GUARD_MOST && guard.to === map.from && !map.name && map.kind === 'mapping' && !isClosed(map);
}

function firstSegmentIn(model, map) {
  return model.segments.find((s) => s.from < map.to && s.to > map.from && s.kind !== 'tables' && s.kind !== 'arena') ?? null;
}

export class ProcessColumn {
  constructor(element, view) {
    this.element = element;
    this.view = view;
  }

  show() {
    const { model, t } = this.view;
    this.groups = groupsOf(model);
    const rows = [];
    this.groups.forEach((g, i) => {
      const before = i ? this.groups[i - 1].to : null;
      if (before !== null && g.from - before > GAP_SHOWN) rows.push(el('div', { class: 'gap' }, t('gap', { size: t.bytes(g.from - before) })));
      const size = g.to - g.from;
      const name = t(g.key) + (g.name && g.name !== '[stack]' ? ` ${g.name.replace(/[[\]]/g, '').replace('stack:', '')}` : '');
      g.button = el(
        'button',
        { type: 'button', class: g.heap ? 'heap' : null, style: `--grow:${Math.max(1, Math.log2(size) - 11).toFixed(1)};--tone:${g.tone}`, title: `${hex(g.from)} – ${hex(g.to)}`, onclick: () => this.view.show(g.from, g.to) },
        el('span', { class: 'name' }, name),
        el('small', {}, t.bytes(size)),
      );
      rows.push(g.button);
      if (model.break != null && model.break > g.from && model.break <= g.to) rows.push(el('div', { class: 'break' }, t('programBreak')));
    });
    const top = this.groups[this.groups.length - 1];
    const ends = [top ? el('div', { class: 'end' }, hex(top.to)) : null, this.groups[0] ? el('div', { class: 'end' }, hex(this.groups[0].from)) : null];
    this.element.replaceChildren(...[ends[0], ...rows.reverse(), ends[1]].filter(Boolean));
    this.mark();
  }

  /* Which entries the picture shows, unless it shows all. */
  mark() {
    const { from, to } = this.view.range;
    const shown = this.groups.filter((g) => g.from < to && g.to > from);
    for (const g of this.groups) {
      if (shown.length < this.groups.length && shown.includes(g)) g.button.setAttribute('aria-current', 'true');
      else g.button.removeAttribute('aria-current');
    }
  }
}
