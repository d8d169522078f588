/*
 * Where the memory went: live + rounding + caches + free + top + metadata = mapped, and of each how much is in memory. The page adds up
 * itself and says so when the sum is not what the snapshot calls mapped.
 */
import { el } from './dom.js';
import { hex } from './format.js';

const ORDER = ['live', 'rounding', 'cached', 'inbox', 'moving', 'free_cells', 'fast', 'binned', 'top', 'fence', 'free_runs', 'uncarved', 'metadata', 'other'];
const TONES = { live: '#4079b3', rounding: '#22466e', cached: '#0a9a6a', inbox: '#7757b8', free_cells: '#e0b95a', fast: '#a83a7c', binned: '#c08a0c', moving: '#3f8fa3', top: '#8a949e', fence: '#343c44', free_runs: '#d9c48f', uncarved: '#c4c9ce', metadata: '#56616b', other: '#a3897b' };

export class Figures {
  constructor(element, view) {
    this.element = element;
    this.view = view;
  }

  show() {
    const { model, t } = this.view;
    const { figures } = model;
    const names = Object.keys(figures).filter((k) => k !== 'mapped' && figures[k] && typeof figures[k].bytes === 'number');
    names.sort((a, b) => rank(a) - rank(b));
    const sum = names.reduce((s, k) => s + figures[k].bytes, 0);
    const mapped = figures.mapped?.bytes ?? sum;
    const resident = figures.mapped?.resident ?? names.reduce((s, k) => s + (figures[k].resident ?? 0), 0);
    const some = names.filter((k) => figures[k].bytes > 0);
    const none = names.filter((k) => !some.includes(k));
    const bar = el(
      'div',
      { class: 'equation', 'aria-hidden': 'true' },
      some.map((k) => el('span', { style: `flex:${figures[k].bytes} 0 0;background:${TONES[k] ?? '#999'}`, title: `${label(k, t)} ${t.bytes(figures[k].bytes)}` })),
    );
    const table = el(
      'table',
      {},
      el('caption', { class: 'hidden' }, t('figuresCaption')),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, t('figure')), el('th', { scope: 'col', class: 'number' }, t('mapped')), el('th', { scope: 'col', class: 'number' }, t('page.1')))),
      el('tbody', {}, some.map((k) => this.row(k, figures[k], mapped))),
      el('tfoot', {}, el('tr', {}, el('th', { scope: 'row' }, `= ${t('mapped')}`), el('td', { class: 'number' }, t.bytes(mapped)), el('td', { class: 'number' }, t.bytes(resident)))),
    );
    const check = sum === mapped ? el('p', { class: 'ok' }, t('sumRight')) : el('p', { class: 'bad' }, t('sumWrong', { sum: t.exact(sum), mapped: t.exact(mapped), difference: t.exact(Math.abs(mapped - sum)) }));
    this.element.replaceChildren(
      ...this.findings(),
      el('section', {}, el('h3', {}, t('whereMemoryWent')), bar, table, none.length ? el('p', { class: 'hint' }, t('noBytesIn', { names: none.map((k) => label(k, t)).join(t('comma')) })) : null, check),
      this.setting(),
    );
  }

  row(key, figure, mapped) {
    const { t } = this.view;
    const share = mapped ? Math.round((figure.bytes / mapped) * 1000) / 10 : 0;
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, el('span', { class: 'swatch', style: `background:${TONES[key] ?? '#999'}` }), label(key, t), el('small', {}, t.has(`figureNote.${key}`) ? t(`figureNote.${key}`) : '')),
      el('td', { class: 'number' }, t.bytes(figure.bytes), el('small', {}, `${share} %`)),
      el('td', { class: 'number' }, figure.resident == null ? '–' : t.bytes(figure.resident), figure.count ? el('small', {}, t('blocksN', { n: t.count(figure.count) })) : null),
    );
  }

  findings() {
    const { model, t } = this.view;
    if (!model.findings.length) return [];
    return [
      el(
        'section',
        { id: 'findings' },
        el('h3', {}, t('findings', { n: t.count(model.findings.length) })),
        el('p', { class: 'hint' }, t('findingsNote')),
        el(
          'ul',
          { class: 'findings' },
          model.findings.slice(0, 200).map((f) =>
            el('li', {}, el('button', { type: 'button', class: 'link', onclick: () => this.view.selectAddress(f.address) }, hex(f.address)), ` ${f.check}`, el('span', { class: 'note' }, f.text ? ` – ${f.text}` : '', f.doubtful ? ` (${t('doubtful')})` : '')),
          ),
        ),
        model.findingsLeftOut || model.findings.length > 200 ? el('p', { class: 'hint' }, t('findingsMore', { n: t.count(model.findingsLeftOut + Math.max(0, model.findings.length - 200)) })) : null,
      ),
    ];
  }

  setting() {
    const { model, t } = this.view;
    const { library, process } = model;
    const changed = Object.entries(library.options).filter(([k, v]) => String(library.defaults[k]) !== String(v));
    const rows = [
      [t('process'), `${process.command || '–'}${process.pid ? ` (${process.pid})` : ''}`],
      [t('executable'), process.executable || '–'],
      [t('threads'), t.count(process.threads.length)],
      [t('library'), `${library.version || '–'} · ${library.profile || '–'}`],
      ...(model.otherCopies ? [[t('otherCopies'), t('otherCopiesN', { n: t.count(model.otherCopies) })]] : []),
      [t('stopped'), model.stoppedUs == null ? '–' : t('stoppedN', { n: t.count(Math.round(model.stoppedUs / 100) / 10), times: t.count(model.stops ?? 1) })],
      [t('looked'), [t(model.headersRead ? 'headersRead' : 'headersNotRead'), model.busy ? t('busy') : ''].join(' ')],
      ...changed.map(([k, v]) => [k, t('notDefault', { value: v, default: library.defaults[k] })]),
    ];
    return el('section', {}, el('h3', {}, t('setting')), el('dl', {}, rows.map(([k, v]) => el('div', {}, el('dt', {}, k), el('dd', {}, v)))));
  }
}

function rank(key) {
  const i = ORDER.indexOf(key);
  return i < 0 ? ORDER.length : i;
}

function label(key, t) {
  return t.has(`figure.${key}`) ? t(`figure.${key}`) : key;
}
