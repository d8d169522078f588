/* The player: one step of a script at a time, forwards and backwards. The picture is the viewer's; the rest is here. */
import { HeapView, legendOf, readSnapshot, texts } from '../src/index.js';
import { el } from '../src/dom.js';
import { STATES } from '../src/snapshot.js';
import { wordsOf } from './texts.js';

const $ = (id) => document.getElementById(id);
const hex = (n) => `0x${n.toString(16)}`;
const HEADER = 16;
const MOST_ROWS = 60;
const LETTER = 7.3; // a letter of a name over the picture, in pixels: page.css
const MOST_LISTED = 14;
/* Calls of the allocator; the others are the program's own. */
const MALLOC_CALLS = new Set('malloc calloc realloc reallocarray free memalign aligned_alloc posix_memalign valloc pvalloc new delete usable trim mallopt malloc_stats malloc_info'.split(' '));

/* In the order in which malloc asks them. What a profile never has is left out. */
const STATIONS = {
  classic: ['gate', 'tcache', 'arena', 'fast bin', 'small bin', 'unsorted bin', 'last remainder', 'large bin', 'larger bins', 'top', 'sub-heap', 'mapped', 'kernel'],
  default: ['gate', 'tcache', 'run', 'zone', 'arena', 'inbox', 'small bin', 'unsorted bin', 'large bin', 'larger bins', 'top', 'mapped', 'kernel'],
};

class Player {
  constructor(plays) {
    this.plays = plays;
    this.lang = preferredLanguage();
    this.dark = matchMedia('(prefers-color-scheme: dark)').matches;
    this.listen();
    this.open(Math.max(0, plays.findIndex((p) => p.lesson && `#${p.lesson}` === location.hash)));
    this.translate();
  }

  open(number) {
    this.play = this.plays[number];
    this.number = number;
    this.models = new Map();
    this.at = 0;
    this.view?.destroy();
    this.view = null;
    $('slider').max = this.play.steps.length - 1;
    this.writeScript();
    this.show();
  }

  get step() {
    return this.play.steps[this.at];
  }

  model(at) {
    if (!this.models.has(at)) this.models.set(at, readSnapshot(this.play.steps[at].snapshot));
    return this.models.get(at);
  }

  /* The step before, unless a new process began here. */
  get before() {
    return this.at > 0 && this.step.call !== 'restart' ? this.model(this.at - 1) : null;
  }

  go(at) {
    const to = Math.min(Math.max(at, 0), this.play.steps.length - 1);
    if (to === this.at) return;
    this.at = to;
    this.show();
    $('live').textContent = `${this.t('stepOf', { n: to + 1, all: this.play.steps.length })}: ${this.step.text}. ${this.step.explain?.[this.lang] ?? ''}`;
  }

  listen() {
    $('first').onclick = () => this.go(0);
    $('back').onclick = () => this.go(this.at - 1);
    $('next').onclick = () => this.go(this.at + 1);
    $('last').onclick = () => this.go(Infinity);
    $('slider').oninput = (e) => this.go(Number(e.target.value));
    $('lesson').onchange = (e) => this.open(Number(e.target.value));
    $('language').onclick = () => {
      this.lang = this.lang === 'zh' ? 'en' : 'zh';
      this.translate();
    };
    $('theme').onclick = () => {
      this.dark = !this.dark;
      this.translate();
    };
    document.addEventListener('keydown', (e) => {
      if (e.target.matches('select, input, canvas') || e.ctrlKey || e.metaKey || e.altKey) return;
      const moves = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, n: this.at + 1, p: this.at - 1, Home: 0, End: Infinity };
      if (!(e.key in moves)) return;
      e.preventDefault();
      this.go(moves[e.key]);
    });
  }

  /* Everything that depends on language or theme. */
  translate() {
    this.t = wordsOf(this.lang);
    document.documentElement.lang = this.lang;
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light';
    for (const node of document.querySelectorAll('[data-t]')) node.textContent = this.t(node.dataset.t);
    for (const node of document.querySelectorAll('[data-t-label]')) node.setAttribute('aria-label', this.t(node.dataset.tLabel));
    $('language').textContent = this.t('language');
    $('language').setAttribute('aria-label', this.t('languageLabel'));
    $('theme').textContent = this.t(this.dark ? 'light' : 'dark');
    $('picture').setAttribute('aria-label', this.t('picture'));
    $('choose').hidden = this.plays.length < 2;
    $('lesson').replaceChildren(...this.plays.map((p, i) => el('option', { value: i, selected: i === this.number }, `${i + 1}. ${p.title[this.lang]}`)));
    if (this.view) {
      this.view.texts = texts(this.lang);
      this.view.dark = this.dark;
    }
    this.show();
  }

  show() {
    if (!this.t) return;
    const { step, play, t } = this;
    const title = play.title[this.lang];
    $('title').textContent = this.plays.length > 1 ? 'Quarry' : title;
    document.title = `${title} – Quarry`;
    $('covers').textContent = [t('profile', { name: this.profile }), play.covers.length ? t('covers', { list: play.covers.join(' ') }) : ''].filter(Boolean).join(' · ');
    $('count').textContent = t('stepOf', { n: this.at + 1, all: play.steps.length });
    $('slider').value = this.at;
    $('slider').setAttribute('aria-valuetext', step.text);
    $('back').disabled = $('first').disabled = this.at === 0;
    $('next').disabled = $('last').disabled = this.at === play.steps.length - 1;
    $('call').replaceChildren(...(step.thread > 1 ? [`${t('thread', { n: step.thread })} `] : []), step.text, ...(step.outcome ? [el('span', { class: 'outcome' }, step.outcome[this.lang])] : []));
    $('sentence').textContent = step.explain?.[this.lang] ?? '';
    $('message').hidden = !step.message;
    $('message').textContent = step.message ?? '';
    this.markLine();
    this.showPath();
    this.showKernel();
    this.showBins();
    this.showPicture();
    this.showBlocks();
  }

  get profile() {
    return this.model(this.at).library.profile || this.play.profile;
  }

  /* ---- script ---- */

  writeScript() {
    const first = new Map();
    this.play.steps.forEach((s, i) => first.has(s.line) || first.set(s.line, i));
    const lines = this.play.script.replace(/\n$/, '').split('\n');
    $('lines').replaceChildren(
      ...lines.flatMap((text, i) => {
        if (/^\s*(en|zh|title|title zh|covers):/.test(text)) return []; // said elsewhere on the page
        const step = first.get(i + 1);
        const kind = /^\s*#/.test(text) ? 'comment' : /^\s*(thread \d+:\s*)?expect\b/.test(text) ? 'expect' : '';
        const code = step === undefined ? el('span', { class: kind }, text) : el('button', { type: 'button', onclick: () => this.go(step) }, text);
        return [el('li', { 'data-line': i + 1 }, el('span', { class: 'number' }, i + 1), el('span', { class: 'code' }, code))];
      }),
    );
  }

  markLine() {
    for (const li of $('lines').children) {
      const now = Number(li.dataset.line) === this.step.line;
      li.classList.toggle('now', now);
      if (now) li.setAttribute('aria-current', 'step');
      else li.removeAttribute('aria-current');
      if (now) {
        const box = $('script').getBoundingClientRect();
        const own = li.getBoundingClientRect();
        if (own.top < box.top + 30 || own.bottom > box.bottom - 60) $('script').scrollTop += own.top - box.top - box.height / 3;
      }
    }
  }

  /* ---- the path ---- */

  showPath() {
    const { step, t } = this;
    const lit = new Map();
    step.path.forEach((e, i) => {
      const store = e.store === 'block' ? null : e.store;
      if (!store) return;
      const s = lit.get(store) ?? { order: i + 1, kind: '' };
      if (e.did === 'refused') s.kind = 'refused';
      else if (e.found || e.did === 'took') s.kind = 'found';
      else if (!s.kind && e.did !== 'asked') s.kind = 'put';
      lit.set(store, s);
    });
    const known = STATIONS[this.profile] ?? STATIONS.classic;
    const all = [...known, ...[...lit.keys()].filter((name) => !known.includes(name))];
    $('stations').replaceChildren(
      ...all.map((name) => {
        const s = lit.get(name);
        return el('span', { class: `station${s ? ` lit ${s.kind}` : ''}` }, s ? el('span', { class: 'order' }, s.order) : null, name);
      }),
    );
    $('events').replaceChildren(
      ...step.path.map((e, i) => {
        const asks = e.did === 'asked';
        return el(
          'li',
          { class: e.store === 'kernel' ? 'call' : null },
          el('span', { class: 'order' }, i + 1),
          el('span', {}, e.text[this.lang]),
          el('span', { class: `answer${e.found ? ' yes' : ''}` }, asks ? t(e.found ? 'yes' : 'no') : ''),
        );
      }),
      ...(step.path_left_out ? [el('li', { class: 'none nothing' }, t('notRecorded', { n: step.path_left_out }))] : []),
      ...(step.path.length ? [] : [el('li', { class: 'none nothing' }, t(MALLOC_CALLS.has(step.call) ? 'noEvent' : 'noPath'))]),
    );
  }

  showKernel() {
    const { step, t } = this;
    const rows = [];
    if (step.system_calls.length) rows.push(el('p', {}, `${t('systemCalls')}: `, el('code', {}, step.system_calls.map((c) => `${c.name}(${Math.abs(c.size) >= 1024 && c.size % 1024 === 0 ? `${c.size / 1024}k` : c.size})`).join(', '))));
    if (step.faults.length)
      rows.push(el('p', { title: t('faultNote') }, `${t('faults')}: ${step.faults.length} `, el('code', {}, step.faults.slice(0, 4).map(hex).join(' ') + (step.faults.length > 4 ? ' …' : ''))));
    $('kernel').replaceChildren(...(rows.length ? rows : [el('p', { class: 'none' }, t('noKernel'))]));
  }

  /* ---- lists ---- */

  /* The variable that holds a block; malloc's pointer lies behind the chunk's header. */
  nameAt(mem, step = this.step) {
    return Object.keys(step.variables).filter((name) => step.variables[name] === mem).pop() ?? '';
  }

  /* Others that still hold its address: they were given it before, and freed it. */
  olderNames(mem) {
    return Object.keys(this.step.variables).filter((name) => this.step.variables[name] === mem).slice(0, -1).join(' ');
  }

  showBins() {
    const { t } = this;
    const model = this.model(this.at);
    const old = this.before;
    const threadOf = (cache) => {
      const tid = model.caches[cache]?.tid;
      const number = model.process.threads.findIndex((thread) => thread.tid === tid);
      return number < 0 ? t('cacheOrphan') : t('cache', { n: this.threadNumber(tid, number) });
    };
    const seen = new Set();
    old?.lists.forEach((l) => l.blocks.forEach((b) => seen.add(`${l.type} ${b}`)));
    const bins = model.lists
      .filter((l) => l.blocks.length)
      .map((l) => {
        const double = ['small', 'large', 'unsorted'].includes(l.kind);
        const name = l.type === 'bin' ? t(l.kind) : t('tcache');
        const size = l.kind === 'unsorted' || l.kind === 'inbox' ? '' : l.from === l.to ? ` ${l.from}` : ` ${l.from}…`;
        const place = l.type === 'bin' ? (model.arenas.length > 1 ? t('arena', { n: l.arena }) : '') : model.caches.length > 1 ? threadOf(l.cache) : '';
        return el(
          'div',
          { class: 'bin' },
          el('p', { class: 'name' }, `${name}${size} `, el('span', { class: 'amount' }, [`${l.blocks.length}${l.limit ? ` / ${l.limit}` : ''}`, place].filter(Boolean).join(' · '))),
          el(
            'ol',
            { class: double ? 'chain double' : 'chain' },
            l.blocks.slice(0, MOST_LISTED).map((b) => {
              const mem = l.type === 'bin' ? b + HEADER : b;
              return el('li', {}, el('button', { type: 'button', class: old && !seen.has(`${l.type} ${b}`) ? 'touched' : null, onclick: () => this.view?.selectAddress(b) }, this.nameAt(mem) || hex(mem)));
            }),
            l.blocks.length > MOST_LISTED ? el('li', {}, `… ${l.blocks.length - MOST_LISTED}`) : null,
          ),
        );
      });
    $('bins').replaceChildren(...(bins.length ? bins : [el('p', { class: 'none' }, t('noBins'))]));
  }

  /* The script's number of a thread: the steps it carried out say which it is. */
  threadNumber(tid, fallback) {
    for (let i = this.at; i >= 0; i--) if (this.play.steps[i].tid === tid) return this.play.steps[i].thread;
    return fallback + 1;
  }

  /* ---- picture ---- */

  /* The chunk or cell that the step was about: what it returned, or what it was given. */
  get subject() {
    const { step } = this;
    const model = this.model(this.at);
    return [step.result, ...step.arguments].find((a) => a > 65536 && model.blockAt(a)) ?? null;
  }

  /* What to look at: the used part of the segment that the step was about, and a little of top. */
  focus(model) {
    const inside = (address) => model.segments.find((s) => address >= s.from && address < s.to);
    for (let i = this.at; i >= 0; i--) {
      const { result, arguments: args, call } = this.play.steps[i];
      const block = [result, ...args].find((a) => a > 65536 && model.blockAt(a));
      if (block) return this.around(model, inside(block), block);
      if (call === 'restart') break;
    }
    const any = model.segments.find((s) => s.kind === 'break' || s.kind === 'subheap');
    return any ? this.around(model, any, any.from) : null;
  }

  around(model, segment, address) {
    if (!segment) return null;
    const item = model.blockAt(address);
    if (item?.kind === 'cell') {
      const run = model.runs[item.run];
      const { from } = model.rangeOf(item);
      return { from: Math.max(run.at, from - 8 * run.stride), to: from + 12 * run.stride };
    }
    if (segment.kind !== 'break' && segment.kind !== 'subheap') return { from: segment.from, to: segment.to };
    const { chunks } = model;
    const top = STATES.indexOf('top');
    let to = segment.from;
    for (let i = 0; i < chunks.count; i++) if (chunks.at[i] >= segment.from && chunks.at[i] < segment.to && chunks.state[i] !== top) to = chunks.at[i] + chunks.size[i];
    const used = Math.max(to - segment.from, 256);
    return { from: segment.from, to: Math.min(segment.to, segment.from + used * 1.2) };
  }

  showPicture() {
    const model = this.model(this.at);
    if (!this.view) {
      this.view = new HeapView($('picture'), model, { texts: texts(this.lang), rows: false });
      this.view.dark = this.dark;
      this.view.overlays.fragmentation = false; // a lesson has few blocks: they can be seen
      this.view.addEventListener('view', () => this.showNames());
    } else {
      this.view.setModel(model);
    }
    const range = this.focus(model);
    $('where').textContent = range ? `${hex(range.from)} – ${hex(Math.round(range.to))}` : '';
    if (range) this.view.show(range.from, range.to, false);
    else this.view.showAll(false);
    this.view.mark(this.subject ? [this.subject] : []);
    $('legend').replaceChildren(...legendOf(this.view));
    this.showNames();
  }

  /* The script's names, over the blocks that they are. */
  showNames() {
    const { view } = this;
    const labels = [];
    let last = -Infinity;
    for (const [name, mem] of Object.entries(this.step.variables).sort((a, b) => a[1] - b[1])) {
      const item = mem && this.nameAt(mem) === name ? view.model.blockAt(mem) : null;
      if (!item || (item.kind !== 'chunk' && item.kind !== 'cell')) continue;
      const { from, to } = view.model.rangeOf(item);
      if (mem - from > HEADER) continue; // swallowed by a larger free chunk
      const x = view.x((view.axis.toU(from) + view.axis.toU(to)) / 2);
      const half = LETTER * name.length / 2 + 5;
      if (!(x - half >= last) || x < view.left || x > view.right) continue; // it would cover the name before it
      last = x + half;
      labels.push(el('span', { style: `left:${x}px` }, name));
    }
    $('names').replaceChildren(...labels);
  }

  /* ---- headers ---- */

  showBlocks() {
    const { t } = this;
    const model = this.model(this.at);
    const old = this.before;
    const { chunks } = model;
    const rows = [];
    let left = 0;
    for (let i = 0; i < chunks.count; i++) {
      const was = old ? old.chunkIndex(chunks.at[i]) : -1;
      const before = was >= 0 && old.chunks.at[was] === chunks.at[i] ? { size: old.chunks.size[was], tags: old.chunks.tags[was], state: old.chunks.state[was] } : null;
      const changed = this.at > 0 && (!before || before.size !== chunks.size[i] || before.tags !== chunks.tags[i] || before.state !== chunks.state[i]);
      if (rows.length >= MOST_ROWS && !changed) left++;
      else rows.push(this.row(model, i, before, changed));
    }
    rows.push(...this.cellRows(model));
    if (!rows.length) {
      $('blocks').replaceChildren(el('tbody', {}, el('tr', {}, el('td', { class: 'none' }, t('noBlocks')))));
      return;
    }
    const heads = ['block', 'at', 'header', 'bytes', 'state', 'prevSize', 'links'].map((key) => el('th', { scope: 'col' }, t(key)));
    $('blocks').replaceChildren(el('thead', {}, el('tr', {}, heads)), el('tbody', {}, rows, left ? el('tr', {}, el('td', { colspan: 7, class: 'none' }, t('more', { n: left }))) : null));
  }

  row(model, i, before, changed) {
    const { t } = this;
    const { at, size, tags, state, fd, bk, prevSize } = model.chunks;
    const name = this.nameAt(at[i] + HEADER);
    const link = (address) => (model.chunkIndex(address) < 0 ? t('binHead') : this.nameAt(address + HEADER) || hex(address));
    const free = tags[i] & 1;
    return el(
      'tr',
      { class: changed ? 'changed' : null },
      el('td', {}, name, el('span', { class: 'older' }, this.olderNames(at[i] + HEADER))),
      el('td', { class: 'mono' }, el('button', { type: 'button', class: 'link mono', onclick: () => this.view.selectAddress(at[i]) }, hex(at[i]))),
      el('td', { class: 'mono' }, this.writtenOver(at[i]) ?? this.bits(size[i], tags[i], before)),
      el('td', { class: 'number' }, before && before.size !== size[i] ? el('span', { class: 'was' }, before.size) : null, size[i]),
      el('td', {}, before && before.state !== state[i] ? el('span', { class: 'was' }, t(`state.${STATES[before.state]}`)) : null, t(`state.${STATES[state[i]]}`)),
      el('td', { class: 'mono' }, free || STATES[state[i]] === 'mapped' ? '' : prevSize[i]),
      el('td', { class: 'mono' }, fd[i] && ['binned', 'unsorted'].includes(STATES[state[i]]) ? `${link(fd[i])} → ${link(bk[i])}` : ''),
    );
  }

  /* What stands in a header that the program wrote over; the bytes column says what should. */
  writtenOver(at) {
    const found = this.step.written_over.find((w) => w.at === at);
    return found ? el('span', { class: 'bits' }, el('span', { class: 'size wrong' }, found.word)) : null;
  }

  bits(size, tags, before) {
    const turned = (bit) => (before && (before.tags & bit) !== (tags & bit) ? ' turned' : '');
    const flag = (name, bit) => el('span', { class: `${tags & bit ? 'on' : ''}${turned(bit)}`, title: name }, tags & bit ? name : '0');
    return el('span', { class: 'bits' }, el('span', { class: `size${before && before.size !== size ? ' turned' : ''}` }, hex(size + (tags & 7))), flag('A', 4), flag('M', 2), flag('P', 1));
  }

  /* Cells of runs: those that variables hold. */
  cellRows(model) {
    const { t } = this;
    const names = ['in use', 'in a run', 'cached', 'inbox', 'not carved', 'moving']; // as CELL counts them
    return Object.entries(this.step.variables).flatMap(([name, mem]) => {
      const item = mem ? model.blockAt(mem) : null;
      if (item?.kind !== 'cell') return [];
      const run = model.runs[item.run];
      const state = names[model.cellsOf(item.run)[item.index]];
      return [
        el(
          'tr',
          {},
          el('td', {}, name),
          el('td', { class: 'mono' }, el('button', { type: 'button', class: 'link mono', onclick: () => this.view.selectAddress(mem) }, hex(mem))),
          el('td', {}, t('cell', { n: run.stride })),
          el('td', { class: 'number' }, run.stride),
          el('td', {}, t(`state.${state}`)),
          el('td', {}),
          el('td', {}),
        ),
      ];
    });
  }
}

function preferredLanguage() {
  const asked = new URLSearchParams(location.search).get('lang');
  return asked === 'zh' || (asked !== 'en' && navigator.language?.toLowerCase().startsWith('zh')) ? 'zh' : 'en';
}

function start() {
  let json;
  try {
    json = JSON.parse($('play').textContent);
  } catch {
    $('sentence').textContent = wordsOf(preferredLanguage())('broken');
    return;
  }
  const plays = json.format === 'quarry-course' ? json.plays : [json];
  window.quarry = new Player(plays);
}

start();
