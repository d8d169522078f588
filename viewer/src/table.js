/* What the picture shows, as a table: for those who do not see it, and for who wants the numbers. */
import { stateKey, titleOf, usableBytes } from './describe.js';
import { el } from './dom.js';
import { hex } from './format.js';

const MOST = 200;

export class Table {
  constructor(element, view) {
    this.element = element;
    this.view = view;
  }

  show() {
    const { view } = this;
    const { model, t } = view;
    const { items, more } = view.itemsOnScreen(MOST);
    const rows = items.map((item) => {
      const { from, to } = model.rangeOf(item);
      const key = stateKey(model, item);
      const block = item.kind === 'chunk' || item.kind === 'cell';
      return el(
        'tr',
        {},
        el('th', { scope: 'row' }, el('button', { type: 'button', class: 'link mono', onclick: () => view.select(item, { reveal: true }) }, hex(from))),
        el('td', {}, key ? t(key) : titleOf(model, item, t)),
        el('td', { class: 'number' }, t.bytes(to - from)),
        el('td', { class: 'number' }, block ? t.bytes(usableBytes(model, item)) : '–'),
      );
    });
    const { from, to } = view.range;
    this.element.replaceChildren(
      el('p', { class: 'hint' }, t('tableHint', { from: hex(from), to: hex(to), size: t.bytes(to - from) })),
      el(
        'table',
        {},
        el('caption', { class: 'hidden' }, t('tableCaption')),
        el('thead', {}, el('tr', {}, ['address', 'what', 'size', 'usable'].map((k, i) => el('th', { scope: 'col', class: i > 1 ? 'number' : null }, t(k))))),
        el('tbody', {}, rows),
      ),
      el('p', { class: 'hint' }, more ? t('tableMore', { n: t.count(more) }) : ''),
    );
  }
}
