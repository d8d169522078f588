/* The page: reads the snapshot that `quarry map` put into it, and connects the parts. */
import { titleOf, labelOfMap, labelOfSegment, labelOfRun } from './describe.js';
import { el } from './dom.js';
import { Figures } from './figures.js';
import { hex } from './format.js';
import { HeapView } from './heapview.js';
import { Inspector } from './inspector.js';
import { legendOf } from './legend.js';
import { Lists } from './lists.js';
import { ProcessColumn } from './process.js';
import { find, nextFound, parseSearch, SearchError, STATE_WORDS } from './search.js';
import { readSnapshot, SnapshotError } from './snapshot.js';
import { Table } from './table.js';
import { languages, texts } from './texts/index.js';

const $ = (id) => document.getElementById(id);
const KEYS = [
  ['+ −', 'keyZoom'], ['← →', 'keyPan'], ['Shift ← →', 'keyPanFar'], ['Home', 'keyAll'], ['n  p', 'keyNeighbour'], ['Space', 'keyMiddle'],
  ['Enter', 'keyShow'], ['Esc', 'keyNone'], ['/', 'keySearch'], ['1 2 3 4', 'keyTabs'], ['c', 'keyColour'], ['?', 'keyHelp'],
];

class Page {
  constructor() {
    this.t = texts(preferredLanguage());
    this.theme = remembered('theme') ?? 'auto';
    this.tab = 'block';
    this.applyTheme();
    this.translate();
    this.listen();
  }

  open(text) {
    let model;
    try {
      model = readSnapshot(text);
    } catch (e) {
      if (!(e instanceof SnapshotError)) throw e;
      $('welcome').classList.add('wrong');
      $('welcome-note').textContent = this.t('cannotRead', { why: e.message });
      return;
    }
    document.body.classList.remove('empty');
    this.view?.destroy();
    this.view = new HeapView($('picture'), model, { texts: this.t });
    this.view.dark = this.dark;
    this.inspector = new Inspector($('panel-block'), this.view, { onlist: (n) => this.showList(n) });
    this.lists = new Lists($('panel-lists'), this.view);
    this.figures = new Figures($('panel-figures'), this.view);
    this.table = new Table($('panel-table'), this.view);
    this.column = new ProcessColumn($('process'), this.view);
    this.view.addEventListener('select', (e) => this.selected(e.detail));
    this.view.addEventListener('view', () => this.viewed());
    this.view.addEventListener('hover', (e) => this.tip(e.detail));
    this.showAll();
    this.showTab('figures');
    const wanted = location.hash.match(/^#(0x[0-9a-f]+)$/i);
    if (wanted) this.view.selectAddress(parseInt(wanted[1], 16));
    window.quarry = { view: this.view, model };
  }

  /* Everything that depends on language, theme or snapshot. */
  showAll() {
    const { model } = this.view;
    const { t } = this;
    const name = model.process.command.replace(/^\/\S*\//, '') || t('snapshot');
    $('what').textContent = $('what').title = model.process.pid ? `${name} (${model.process.pid})` : name;
    document.title = `${name} – Quarry`;
    $('when').textContent = [model.takenAt && new Date(model.takenAt).toLocaleString(t.lang === 'zh' ? 'zh-CN' : 'en-GB'), model.source && t(`source.${model.source}`)].filter(Boolean).join(' · ');
    const alarm = $('alarm');
    alarm.hidden = !model.findings.length;
    alarm.replaceChildren(
      t('alarm', { n: t.count(model.findings.length) }),
      el('button', { type: 'button', onclick: () => this.showTab('figures', true) }, t('showThem')),
    );
    this.column.show();
    $('legend').replaceChildren(...legendOf(this.view));
    this.inspector.show(this.view.selected);
    this.lists.show();
    this.figures.show();
    this.crumbs();
    this.refreshTab();
    $('picture').setAttribute('aria-label', t('pictureLabel', { name }));
  }

  selected(item) {
    this.inspector.show(item);
    this.crumbs();
    if (item && this.tab !== 'lists' && this.tab !== 'table') this.showTab('block');
    const { model } = this.view;
    this.say(item ? `${this.t(`kindOf.${item.kind}`)}: ${titleOf(model, item, this.t)}, ${hex(model.rangeOf(item).from)}` : this.t('nothingSelected'));
  }

  viewed() {
    this.column.mark();
    this.crumbs();
    clearTimeout(this.viewTimer);
    this.viewTimer = setTimeout(() => {
      this.refreshTab();
      const { from, to } = this.view.range;
      this.say(this.t('showing', { from: hex(from), to: hex(to), size: this.t.bytes(to - from) }));
    }, 350);
  }

  refreshTab() {
    if (this.tab === 'table') this.table.show();
  }

  say(text) {
    $('live').textContent = text;
  }

  tip({ item, x, y }) {
    const tip = $('tip');
    tip.hidden = !item;
    if (!item) return;
    tip.textContent = `${titleOf(this.view.model, item, this.t)} · ${hex(this.view.model.rangeOf(item).from)}`;
    const box = $('frame').getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 20 + tip.offsetHeight > box.height ? y - tip.offsetHeight - 8 : y + 18}px`;
  }

  /* From the process down to what is selected, or else to what holds all that is on screen. */
  crumbs() {
    const { view, t } = this;
    const { model } = view;
    const { from, to } = view.range;
    const inside = view.selected ? model.rangeOf(view.selected).from : null;
    const at = inside ?? (from + to) / 2;
    const whole = (r) => inside !== null || (r.from <= from && r.to >= to);
    const path = [[t('process'), () => view.showAll(), null]];
    const add = (kind, index, ranges, label) => {
      if (index >= 0 && whole(ranges[index])) path.push([label(ranges[index]), () => view.showItem({ kind, index }), { kind, index }]);
    };
    add('map', model.mapAt(at), model.maps, (m) => labelOfMap(m, t));
    add('segment', model.segmentAt(at), model.segments, (s) => labelOfSegment(model, s, t));
    const leaf = model.leafAt(at);
    if (leaf >= 0 && model.leaves.ref[leaf] < 0 && whole({ from: model.leaves.from[leaf], to: model.leaves.to[leaf] })) {
      const index = -1 - model.leaves.ref[leaf];
      path.push([labelOfRun(model, model.runs[index], t), () => view.showItem({ kind: 'run', index })]);
    }
    if (view.selected?.kind === 'chunk' || view.selected?.kind === 'cell') path.push([titleOf(model, view.selected, t), () => view.showItem(view.selected)], [t('header'), () => view.showHeader(view.selected)]);
    const text = path.map(([label]) => label).join('›');
    if (text === this.crumbText) return;
    this.crumbText = text;
    $('crumbs').replaceChildren(el('ol', {}, path.map(([label, onclick], i) => el('li', {}, el('button', { type: 'button', onclick, title: label }, label)))));
  }

  /* ---- search ---- */

  search() {
    const { view, t } = this;
    const text = $('query').value.trim();
    if (!text) {
      this.found = null;
      view.search = null;
      this.note('');
      return;
    }
    try {
      const wanted = parseSearch(text, view.model);
      if (wanted.address !== undefined) {
        this.found = null;
        view.search = null;
        const there = view.selectAddress(wanted.address);
        this.note(there ? titleOf(view.model, view.selected, t) : t('nothingAt', { address: hex(wanted.address) }), !there);
        if (there) this.showTab('block');
        return;
      }
      this.found = find(view.model, wanted);
      view.search = this.found;
      this.note(t('foundN', { n: t.count(this.found.count), bytes: t.bytes(this.found.bytes) }), !this.found.count);
      this.nextHit(1, null);
    } catch (e) {
      if (!(e instanceof SearchError)) throw e;
      this.note(t(e.key, { word: e.word, states: STATE_WORDS.join(' ') }), true);
    }
  }

  nextHit(step, from = this.view.selected) {
    if (!this.found) return;
    const item = nextFound(this.view.model, this.found, from, step);
    if (item) {
      this.view.select(item);
      this.view.reveal(item);
    }
  }

  note(text, wrong = false) {
    $('search-note').textContent = text;
    $('search-note').classList.toggle('wrong', wrong);
    for (const id of ['previous-hit', 'next-hit']) $(id).hidden = !this.found?.count;
  }

  /* ---- tabs ---- */

  showTab(name, focus = false) {
    this.tab = name;
    for (const tab of document.querySelectorAll('[role="tab"]')) {
      const on = tab.id === `tab-${name}`;
      tab.setAttribute('aria-selected', on);
      tab.tabIndex = on ? 0 : -1;
      $(tab.getAttribute('aria-controls')).hidden = !on;
      if (on && focus) tab.focus();
    }
    this.refreshTab();
  }

  showList(number) {
    this.showTab('lists');
    this.lists.open(number);
  }

  /* ---- language and theme ---- */

  translate() {
    const { t } = this;
    document.documentElement.lang = t.lang === 'zh' ? 'zh-CN' : 'en';
    for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
    for (const node of document.querySelectorAll('[data-t-label]')) {
      node.setAttribute('aria-label', t(node.dataset.tLabel));
      if (node.tagName === 'BUTTON') node.title = t(node.dataset.tLabel);
    }
    for (const node of document.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
    $('language').textContent = t.lang === 'zh' ? 'English' : '中文';
    $('language').lang = t.lang === 'zh' ? 'en' : 'zh-CN';
    this.themeLabel();
    $('help').replaceChildren(
      el('h2', { id: 'help-title' }, t('helpTitle')),
      el('p', {}, t('helpText')),
      el('dl', {}, KEYS.map(([keys, what]) => el('div', {}, el('dt', {}, keys.split('  ').map((k) => [el('kbd', {}, k), ' '])), el('dd', {}, t(what))))),
      el('h3', {}, t('search')),
      el('p', {}, t('helpSearch')),
      el('p', {}, el('code', {}, 'state: '), STATE_WORDS.join(' · ')),
      el('form', { method: 'dialog' }, el('button', {}, t('close'))),
    );
  }

  switchLanguage() {
    this.t = texts(this.t.lang === 'zh' ? 'en' : 'zh');
    remember('lang', this.t.lang);
    this.translate();
    if (!this.view) return;
    this.view.texts = this.t;
    this.view.rowsKey = '';
    this.crumbText = '';
    this.say('');
    this.showAll();
  }

  get dark() {
    return this.theme === 'dark' || (this.theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  }

  applyTheme() {
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light';
    this.themeLabel();
    if (!this.view) return;
    this.view.dark = this.dark;
    this.showAll();
  }

  themeLabel() {
    $('theme').textContent = this.t(`theme.${this.theme}`);
    $('theme').setAttribute('aria-label', this.t('themeLabel', { theme: this.t(`theme.${this.theme}`) }));
  }

  listen() {
    $('language').onclick = () => this.switchLanguage();
    $('theme').onclick = () => {
      const order = ['auto', 'light', 'dark'];
      this.theme = order[(order.indexOf(this.theme) + 1) % 3];
      remember('theme', this.theme);
      this.applyTheme();
    };
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.applyTheme());
    $('help-button').onclick = () => $('help').showModal();
    $('open').onclick = () => $('file').click();
    $('file').onchange = async (e) => e.target.files[0] && this.open(await e.target.files[0].text());
    document.addEventListener('dragover', (e) => e.preventDefault());
    document.addEventListener('drop', async (e) => {
      e.preventDefault();
      if (e.dataTransfer.files[0]) this.open(await e.dataTransfer.files[0].text());
    });
    $('search').onsubmit = (e) => {
      e.preventDefault();
      this.search();
    };
    $('query').addEventListener('search', () => $('query').value || this.search());
    $('query').onkeydown = (e) => {
      if (e.key === 'Escape') $('picture').focus();
      else if (e.key === 'Enter' && this.found && $('query').value === this.searched) {
        e.preventDefault();
        this.nextHit(e.shiftKey ? -1 : 1);
      } else if (e.key === 'Enter') this.searched = $('query').value;
    };
    $('previous-hit').onclick = () => this.nextHit(-1);
    $('next-hit').onclick = () => this.nextHit(1);
    $('zoom-in').onclick = () => this.view.zoom(2);
    $('zoom-out').onclick = () => this.view.zoom(0.5);
    $('zoom-all').onclick = () => this.view.showAll();
    $('colour').onchange = (e) => this.colourBy(e.target.value);
    for (const name of ['fragmentation', 'residency'])
      $(name).onchange = (e) => {
        this.view.overlays[name] = e.target.checked;
        this.view.invalidate();
        $('legend').replaceChildren(...legendOf(this.view));
      };
    const tabs = [...document.querySelectorAll('[role="tab"]')];
    tabs.forEach((tab, i) => {
      tab.onclick = () => this.showTab(tab.id.slice(4));
      tab.onkeydown = (e) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
        if (step) this.showTab(tabs[(i + step + tabs.length) % tabs.length].id.slice(4), true);
      };
    });
    document.addEventListener('keydown', (e) => {
      if (!this.view || e.ctrlKey || e.metaKey || e.altKey || /INPUT|SELECT|TEXTAREA/.test(e.target.tagName) || $('help').open) return;
      if (e.key === '/') $('query').focus();
      else if (e.key === '?') $('help').showModal();
      else if (e.key >= '1' && e.key <= '4') this.showTab(['block', 'lists', 'figures', 'table'][e.key - 1], true);
      else if (e.key === 'c') {
        const select = $('colour');
        select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
        this.colourBy(select.value);
        this.say(select.selectedOptions[0].textContent);
      } else return;
      e.preventDefault();
    });
  }

  colourBy(mode) {
    this.view.colourBy = mode;
    $('legend').replaceChildren(...legendOf(this.view));
  }
}

function preferredLanguage() {
  const asked = new URLSearchParams(location.search).get('lang') ?? remembered('lang');
  if (asked in languages) return asked;
  return navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/* Some browsers have no storage for files; then nothing is remembered. */
function remembered(key) {
  try {
    return localStorage.getItem(`quarry.${key}`);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`quarry.${key}`, value);
  } catch {
    // see above
  }
}

const page = new Page();
const snapshot = $('snapshot').textContent;
if (!snapshot.startsWith('@')) page.open(snapshot);
