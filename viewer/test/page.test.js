/* What a person does with the page, in a real Chromium. `node --test viewer/test/page.test.js` after ./dev build. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { CELL, readSnapshot } from '../src/snapshot.js';
import { launch, PAGE, settle, workedMs } from './page.js';
import { sample } from './sample.js';

const json = sample({ chunks: 3000, runs: 40 });
const model = readSnapshot(structuredClone(json));
const free = [...model.chunks.state].findIndex((s, i) => s === 1 && i > 900 && model.chunks.list[i] >= 0);
const hex = (n) => `0x${n.toString(16)}`;

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/* A test with a tab of its own; whatever the page complains about fails it. */
function page(name, options, body) {
  test(name, async () => {
    const { snapshot = json, ...rest } = options;
    const { tab, faults, close } = await browser.open(snapshot, rest);
    await body(tab);
    assert.deepEqual(faults, []);
    await close();
  });
}

const range = (tab) => tab.evaluate(() => window.quarry.view.range);
const selected = (tab) => tab.evaluate(() => window.quarry.view.selected);
const text = (tab, selector) => tab.locator(selector).innerText();

test('the page is one file that names no other', () => {
  const html = readFileSync(PAGE, 'utf8');
  assert.equal(html.split('@SNAPSHOT@').length, 2);
  assert.deepEqual(html.match(/(https?:)?\/\/[a-z0-9-]+\.[a-z]+|src=|@import|url\(/gi) ?? [], []);
});

page('opens from a file without a network, and shows the process', {}, async (tab) => {
  assert.match(await tab.title(), /redis-server/);
  const column = await text(tab, '#process');
  for (const what of ['stack', 'from the kernel', 'libraries', 'mapped block', 'sub-heap', 'heap (brk)', 'bss', 'data', 'text', 'zone of runs', 'program break']) assert.ok(column.includes(what), what);
  assert.ok(column.indexOf('stack') < column.indexOf('heap (brk)') && column.indexOf('heap (brk)') < column.indexOf('bss'), 'high addresses on top');
});

page('finds a block by its address and says what its header says', {}, async (tab) => {
  const at = model.chunks.at[free];
  const size = model.chunks.size[free];
  await tab.fill('#query', hex(at + 24)); // anywhere inside
  await tab.press('#query', 'Enter');
  await settle(tab);
  assert.deepEqual(await selected(tab), { kind: 'chunk', index: free });
  const seen = await range(tab);
  assert.ok(seen.from <= at && seen.to >= at + size && seen.to - seen.from < 4 * size + 200, JSON.stringify(seen));
  const panel = await text(tab, '#panel-block');
  for (const what of [hex(at), hex(at + 16), hex(size + model.chunks.tags[free]), 'PREV_INUSE', 'fd', 'bk', 'free, in a bin', 'small bin|large bin']) assert.match(panel, new RegExp(what));
  assert.match(await text(tab, '#live'), /Chunk/);
  // The links of the header lead along the bin.
  const list = model.lists[model.chunks.list[free]];
  const place = model.chunks.place[free];
  const next = list.blocks[place + 1] ?? list.blocks[place - 1];
  if (next !== undefined) {
    await tab.locator('#panel-block button.link', { hasText: hex(next) }).first().click();
    assert.equal(await tab.evaluate(() => window.quarry.model.chunks.at[window.quarry.view.selected.index]), next);
  }
  await tab.fill('#query', '0x1000');
  await tab.press('#query', 'Enter');
  assert.match(await text(tab, '#search-note'), /Nothing is mapped at 0x1000/);
});

page('neighbours before and after are those in memory', {}, async (tab) => {
  await tab.evaluate((index) => window.quarry.view.select({ kind: 'chunk', index }), free);
  await tab.getByRole('button', { name: 'Next block' }).click();
  assert.deepEqual(await selected(tab), { kind: 'chunk', index: free + 1 });
  assert.match(await text(tab, '#panel-block'), /The chunk before is free; prev_size is its size/);
  await tab.getByRole('button', { name: 'Previous block' }).click();
  assert.deepEqual(await selected(tab), { kind: 'chunk', index: free });
});

page('the wheel zooms where the pointer is, from all to one header', {}, async (tab) => {
  const box = await tab.locator('#picture').boundingBox();
  const x = box.width * 0.5;
  await tab.mouse.move(box.x + x, box.y + 110);
  const under = () => tab.evaluate((px) => window.quarry.view.axis.toAddress(window.quarry.view.uAt(px)), x);
  const address = await under();
  const widths = [];
  for (let i = 0; i < 60; i++) {
    await tab.mouse.wheel(0, -240);
    await settle(tab);
    const { from, to } = await range(tab);
    widths.push(to - from);
    const drift = Math.abs((await under()) - address);
    assert.ok(drift <= 1 + (to - from) * 0.002, `the address under the pointer moved by ${drift} of ${to - from}`);
    if (to - from < 120) break;
  }
  assert.ok(widths.at(-1) < 120 && widths[0] > 1e6, widths.join());
  await tab.mouse.wheel(0, 60000);
  await settle(tab);
  const { from, to } = await range(tab);
  assert.ok(to - from > 1e12, 'all the way back');
});

page('dragging moves, a double click goes in, a click selects what is drawn there', {}, async (tab) => {
  const box = await tab.locator('#picture').boundingBox();
  const y = box.y + 120;
  await tab.evaluate((index) => window.quarry.view.showItem({ kind: 'chunk', index }, false), free);
  await settle(tab);
  await tab.mouse.click(box.x + box.width / 2, y);
  assert.deepEqual(await selected(tab), { kind: 'chunk', index: free });
  const start = await range(tab);
  await tab.mouse.move(box.x + 500, y);
  await tab.mouse.down();
  await tab.mouse.move(box.x + 350, y, { steps: 5 });
  await tab.mouse.up();
  await settle(tab);
  assert.ok((await range(tab)).from > start.from, 'dragged to the left: later addresses');
  await tab.evaluate(() => window.quarry.view.showAll(false));
  await settle(tab);
  const before = await range(tab);
  await tab.mouse.dblclick(box.x + box.width * 0.4, y);
  await settle(tab);
  const inside = await range(tab);
  assert.ok(inside.to - inside.from < (before.to - before.from) / 4);
});

page('two fingers pinch', { hasTouch: true }, async (tab) => {
  const box = await tab.locator('#picture').boundingBox();
  const cdp = await tab.context().newCDPSession(tab);
  const touch = (type, points) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points.map((x, id) => ({ x: box.x + x, y: box.y + 120, id })) });
  const before = await tab.evaluate(() => window.quarry.view.u1 - window.quarry.view.u0);
  await touch('touchStart', [350, 450]);
  for (let d = 0; d <= 200; d += 20) await touch('touchMove', [350 - d, 450 + d]);
  await touch('touchEnd', []);
  await settle(tab);
  assert.ok((await tab.evaluate(() => window.quarry.view.u1 - window.quarry.view.u0)) < before / 3);
});

page('everything by keyboard: zoom, move, walk, header, tabs, search', {}, async (tab) => {
  await tab.keyboard.press('Tab');
  assert.equal(await tab.evaluate(() => document.activeElement.className), 'skip');
  await tab.keyboard.press('Enter');
  await tab.evaluate(() => document.getElementById('picture').focus());
  const all = await range(tab);
  for (let i = 0; i < 6; i++) await tab.keyboard.press('+');
  await settle(tab);
  const near = await range(tab);
  assert.ok(near.to - near.from < (all.to - all.from) / 4);
  await tab.keyboard.press('ArrowRight');
  await settle(tab);
  assert.ok((await range(tab)).from > near.from);
  await tab.keyboard.press('Home');
  await settle(tab);
  assert.deepEqual(await range(tab), all);
  await tab.keyboard.press('Space');
  const first = await selected(tab);
  assert.ok(first);
  await tab.keyboard.press('n');
  const second = await selected(tab);
  assert.notDeepEqual(second, first);
  await tab.keyboard.press('p');
  assert.deepEqual(await selected(tab), first);
  await tab.keyboard.press('Home');
  for (let i = 0; i < 2; i++) {
    await settle(tab);
    await tab.keyboard.press('Enter');
  }
  await settle(tab);
  const header = await range(tab);
  assert.ok(header.to - header.from < 200, 'the header fills the screen');
  await tab.keyboard.press('Escape');
  assert.equal(await selected(tab), null);
  await tab.keyboard.press('3');
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'tab-figures');
  await tab.keyboard.press('ArrowLeft');
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'tab-lists');
  assert.ok(await tab.locator('#panel-lists').isVisible());
  await tab.keyboard.press('/');
  await tab.keyboard.type('state:unsorted');
  await tab.keyboard.press('Enter');
  const hit = await selected(tab);
  assert.equal(json.states[json.chunks.state[hit.index]], 'unsorted');
  await tab.keyboard.press('Enter');
  assert.notDeepEqual(await selected(tab), hit);
  await tab.keyboard.press('Escape');
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'picture');
  await tab.keyboard.press('?');
  assert.ok(await tab.locator('#help').isVisible());
  await tab.keyboard.press('Escape');
  assert.ok(!(await tab.locator('#help').isVisible()));
});

page('Tab reaches every control and leaves every one', {}, async (tab) => {
  const wanted = await tab.evaluate(() => {
    const all = [...document.querySelectorAll('button, input, select, canvas[tabindex="0"], [role="tabpanel"]')];
    return all.filter((n) => n.checkVisibility() && n.tabIndex >= 0).length;
  });
  await tab.evaluate(() => {
    window.seen = new Set();
    document.addEventListener('focusin', (e) => window.seen.add(e.target));
  });
  for (let i = 0; i < wanted + 4; i++) await tab.keyboard.press('Tab');
  const missed = await tab.evaluate(() => [...document.querySelectorAll('button, input, select, canvas[tabindex="0"]')].filter((n) => n.checkVisibility() && n.tabIndex >= 0 && !window.seen.has(n)).map((n) => n.id || n.textContent));
  assert.deepEqual(missed, []);
});

page('cells are clickable, each with its header', {}, async (tab) => {
  const r = model.runs.findIndex((run, i) => run.owner !== null && run.stride >= 256 && model.cellsOf(i).length > 20 && !model.cellsOf(i).includes(CELL.uncarved));
  await tab.evaluate((index) => window.quarry.view.showItem({ kind: 'run', index }, false), r);
  await settle(tab);
  const box = await tab.locator('#picture').boundingBox();
  // Each place in the grid leads to the cell that is drawn there: the outline of the selection lies under the pointer.
  for (const [fx, fy] of [[0.2, 100], [0.5, 130], [0.8, 150], [0.6, 85]]) {
    await tab.mouse.click(box.x + box.width * fx, box.y + fy);
    const item = await selected(tab);
    assert.equal(item.kind, 'cell');
    assert.equal(item.run, r);
    const panel = await text(tab, '#panel-block');
    assert.ok(panel.includes(hex(model.runs[r].stride + 8)), 'the tag');
    assert.match(panel, /secret/);
    assert.ok(panel.includes(hex(model.cellFrom(model.runs[r], item.index) + 8)));
  }
  const before = await selected(tab);
  await tab.locator('.run-grid').focus();
  await tab.keyboard.press('ArrowRight');
  assert.deepEqual(await selected(tab), { ...before, index: before.index + 1 });
});

page('every bin and every stack is listed, in order', {}, async (tab) => {
  await tab.click('#tab-lists');
  const full = model.lists.filter((l) => l.blocks.length);
  assert.equal(await tab.locator('#panel-lists details').count(), full.length);
  await tab.evaluate(() => document.querySelectorAll('#panel-lists details').forEach((d) => (d.open = true)));
  await tab.waitForFunction(() => [...document.querySelectorAll('#panel-lists details')].every((d) => d.querySelector('li')));
  const chains = await tab.evaluate(() => [...document.querySelectorAll('#panel-lists .chain')].map((c) => [...c.querySelectorAll('button')].map((b) => b.firstChild.data)));
  const wanted = new Set(full.map((l) => l.blocks.slice(0, 120).map(hex).join()));
  assert.deepEqual(chains.filter((c) => !wanted.has(c.join())), []);
  await tab.locator('#panel-lists .chain button').nth(5).click();
  assert.ok(await selected(tab));
});

page('the figures add up, and say so', {}, async (tab) => {
  await tab.click('#tab-figures');
  assert.match(await text(tab, '#panel-figures'), /The parts add up to what is mapped/);
  assert.match(await text(tab, '#panel-figures'), /decay\s+500 \(default 1000\)/);
});

page('that there are other copies of Quarry is said', { snapshot: { ...json, other_copies: 2 } }, async (tab) => {
  await tab.click('#tab-figures');
  assert.match(await text(tab, '#panel-figures'), /Other copies\s+2 of Quarry in this process/);
});

const wrong = structuredClone(json);
wrong.figures.live.bytes += 12288;
page('figures that do not add up are not hidden', { snapshot: wrong }, async (tab) => {
  await tab.click('#tab-figures');
  assert.match(await text(tab, '#panel-figures .bad'), /12 KiB \(12,288 B\) are not explained/);
});

page('damage is said at once, and leads to the place', { snapshot: sample({ chunks: 2000, broken: true }) }, async (tab) => {
  assert.ok(await tab.locator('#alarm[role="alert"]').isVisible());
  await tab.locator('#alarm button').click();
  await tab.locator('.findings button').click();
  await settle(tab);
  const item = await selected(tab);
  assert.equal(await tab.evaluate((i) => window.quarry.model.chunks.state[i], item.index), 9);
});

page('what is on screen, as a table', {}, async (tab) => {
  await tab.evaluate((index) => window.quarry.view.show(window.quarry.model.chunks.at[index] - 4000, window.quarry.model.chunks.at[index] + 4000, false), free);
  await tab.click('#tab-table');
  await settle(tab);
  await tab.waitForFunction((a) => document.getElementById('panel-table').innerText.includes(a), hex(model.chunks.at[free]));
  const rows = await tab.locator('#panel-table tbody tr').count();
  const seen = await range(tab);
  const expected = [...model.chunks.at].filter((a, i) => a < seen.to && a + model.chunks.size[i] > seen.from).length;
  assert.ok(Math.abs(rows - expected) <= 1, `${rows} rows, ${expected} chunks`);
  await tab.locator('#panel-table tbody button').nth(1).click();
  assert.ok(await selected(tab));
  assert.ok(await tab.locator('#panel-table').isVisible(), 'the table stays');
});

page('four colourings, each with its legend', {}, async (tab) => {
  const pictures = new Set();
  for (const mode of ['state', 'class', 'arena', 'residency']) {
    await tab.selectOption('#colour', mode);
    await settle(tab);
    pictures.add(await tab.evaluate(() => document.getElementById('picture').toDataURL()));
    assert.ok((await tab.locator('#legend li').count()) >= 2, mode);
  }
  assert.equal(pictures.size, 4);
  await tab.uncheck('#fragmentation');
  await tab.uncheck('#residency');
  await settle(tab);
  pictures.add(await tab.evaluate(() => document.getElementById('picture').toDataURL()));
  assert.equal(pictures.size, 5);
});

page('the languages: asked for in the address, switched on the page, complete', { query: '?lang=zh' }, async (tab) => {
  assert.equal(await tab.getAttribute('html', 'lang'), 'zh-CN');
  await tab.evaluate((index) => window.quarry.view.select({ kind: 'chunk', index }), free);
  for (const id of ['#tab-block', '#tab-lists', '#tab-figures', '#tab-table', '#help-button']) await tab.click(id);
  // English that is left must be a term: names, units, keys, code.
  const terms = /^(redis|server|bin|top|bss|brk|vdso|Quarry|malloc|free|run|chunk|cell|fd|bk|nextsize|fd_nextsize|bk_nextsize|prev_size|size|P|A|M|B|KiB|MiB|GiB|TiB|PREV_INUSE|NON_MAIN_ARENA|IS_MMAPPED|English|program|break|anon|quarry|runs|descriptors|arena|mapped|heap|tick|safe|linking|NUL|lib\S*|ld|so|linux|x86|usr|r|w|x|p|n|c|Shift|Home|Space|Enter|Esc|state|thread|kind|K|G|default|decay|bio_close|x|f|a|b|d|e|stack|x[0-9a-f]+|xp|[0-9a-f]+)$/;
  const body = await tab.evaluate(() => document.body.innerText);
  const left = [...new Set(body.match(/[A-Za-z_]+/g))].filter((w) => !terms.test(w)).filter((w) => !STATE_TERMS.has(w));
  assert.deepEqual(left, []);
  await tab.keyboard.press('Escape');
  await tab.click('#language');
  assert.equal(await tab.getAttribute('html', 'lang'), 'en');
  assert.doesNotMatch((await tab.evaluate(() => document.body.innerText)).replace('中文', ''), /[\u4e00-\u9fff]/);
});
const STATE_TERMS = new Set(['binned', 'broken', 'cached', 'fast', 'fence', 'inbox', 'inuse', 'live', 'moving', 'remote', 'uncarved', 'unsorted', 'used']);

page('the language of the browser', { locale: 'zh-TW' }, async (tab) => assert.equal(await tab.getAttribute('html', 'lang'), 'zh-CN'));

for (const [scheme, other] of [['light', 'dark'], ['dark', 'light']])
  page(`${scheme}: as the system says, switched on the page, everything legible`, { colorScheme: scheme }, async (tab) => {
    assert.equal(await tab.getAttribute('html', 'data-theme'), scheme);
    await tab.evaluate((index) => window.quarry.view.select({ kind: 'chunk', index }), free);
    for (const id of ['block', 'lists', 'figures', 'table']) {
      await tab.click(`#tab-${id}`);
      assert.deepEqual(await tab.evaluate(contrastFaults), []);
    }
    await tab.click('#theme');
    if ((await tab.getAttribute('html', 'data-theme')) === scheme) await tab.click('#theme');
    assert.equal(await tab.getAttribute('html', 'data-theme'), other);
  });

/* Text that has less than 4.5 : 1 against what is behind it (WCAG 1.4.3). Runs in the page. */
function contrastFaults() {
  const parse = (c) => {
    const m = c.match(/rgba?\(([\d.]+)[, ]+([\d.]+)[, ]+([\d.]+)(?:[,/ ]+([\d.]+))?/) ?? c.match(/color\(srgb ([\d.]+) ([\d.]+) ([\d.]+)(?: \/ ([\d.]+))?/);
    const scale = c.startsWith('color(') ? 255 : 1;
    return m ? [m[1] * scale, m[2] * scale, m[3] * scale, m[4] === undefined ? 1 : Number(m[4])] : [0, 0, 0, 0];
  };
  const luminance = (c) => {
    const f = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]);
  };
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = parse(getComputedStyle(n).backgroundColor);
      if (c[3] === 1) return c;
    }
    return [255, 255, 255, 1];
  };
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility() || parent.closest('.hidden, script, style, #tip')) continue;
    const [a, b] = [luminance(parse(getComputedStyle(parent).color)), luminance(behind(parent))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faults.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return faults;
}

page('a page that others can read: names, landmarks, roles, ids, sizes', {}, async (tab) => {
  await tab.evaluate((index) => window.quarry.view.select({ kind: 'chunk', index }), free);
  for (const id of ['block', 'lists', 'figures', 'table']) {
    await tab.click(`#tab-${id}`);
    assert.deepEqual(await tab.evaluate(accessFaults), [], id);
  }
  await tab.evaluate(() => (document.getElementById('live').textContent = ''));
  await tab.evaluate(() => document.getElementById('picture').focus());
  await tab.keyboard.press('n');
  assert.match(await text(tab, '#live'), /0x/, 'the live region says what is selected');
});

/* What axe would say, as far as it concerns this page. Runs in the page. */
function accessFaults() {
  const faults = [];
  const visible = (n) => n.checkVisibility();
  const name = (n) =>
    n.getAttribute('aria-label') || (n.getAttribute('aria-labelledby') && document.getElementById(n.getAttribute('aria-labelledby'))?.textContent) || [...(n.labels ?? [])].map((l) => l.textContent).join('') || n.textContent || n.title;
  for (const n of document.querySelectorAll('button, input, select, canvas, [role="tab"], [role="tabpanel"], nav, aside, dialog, fieldset'))
    if (visible(n) && !name(n).trim()) faults.push(`no name: ${n.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll('[id]')].map((n) => n.id);
  for (const id of new Set(ids)) if (ids.filter((i) => i === id).length > 1) faults.push(`id twice: ${id}`);
  for (const n of document.querySelectorAll('[aria-controls], [aria-labelledby], [aria-describedby], label[for]'))
    for (const a of ['aria-controls', 'aria-labelledby', 'aria-describedby', 'for']) for (const id of (n.getAttribute(a) ?? '').split(' ').filter(Boolean)) if (!document.getElementById(id)) faults.push(`${a} to nothing: ${id}`);
  for (const n of document.querySelectorAll('[tabindex]')) if (n.tabIndex > 0) faults.push(`tabindex ${n.tabIndex}`);
  for (const [selector, count] of [['main', 1], ['header[role="banner"]', 1], ['h1', 1], ['[role="search"]', 1], ['[role="tablist"]', 1], ['[aria-live]', 1], ['[role="tab"][aria-selected="true"]', 1]]) if (document.querySelectorAll(selector).length !== count) faults.push(`${selector}: not ${count}`);
  if (!document.documentElement.lang) faults.push('no lang');
  for (const n of document.querySelectorAll('table')) if (!n.caption || !n.querySelector('th[scope]')) faults.push('a table without caption or scopes');
  for (const n of document.querySelectorAll('button, select, input:not([type="checkbox"])')) {
    const box = n.getBoundingClientRect();
    if (visible(n) && !n.classList.contains('link') && (box.height < 24 || box.width < 24)) faults.push(`small: ${n.outerHTML.slice(0, 60)} ${box.width}x${box.height}`);
  }
  let level = 1;
  for (const n of document.querySelectorAll('h1, h2, h3')) {
    if (!visible(n)) continue;
    if (n.tagName[1] - level > 2) faults.push(`heading ${n.tagName} after h${level}`);
    level = Number(n.tagName[1]);
  }
  return faults;
}

page('on a small screen nothing is cut off', { width: 480, height: 900 }, async (tab) => {
  assert.ok((await tab.evaluate(() => document.documentElement.scrollWidth)) <= 480);
  assert.ok((await tab.locator('#picture').boundingBox()).height > 200);
});

page('without a snapshot it asks for one, and opens it', { snapshot: null }, async (tab) => {
  assert.ok(await tab.locator('#welcome').isVisible());
  await tab.setInputFiles('#file', { name: 'a.json', mimeType: 'application/json', buffer: Buffer.from('{"format":"else"}') });
  await tab.waitForSelector('#welcome.wrong');
  assert.match(await text(tab, '#welcome-note'), /not a quarry-snapshot/);
  await tab.setInputFiles('#file', { name: 'b.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(json)) });
  await tab.waitForFunction(() => window.quarry?.view.frames.length > 0);
  assert.ok(!(await tab.locator('#welcome').isVisible()));
});

const named = structuredClone(json);
named.process.command = '</script><img src=x onerror=alert(1)>';
page('a name with markup in it stays a name', { snapshot: named }, async (tab) => {
  assert.equal(await tab.locator('img').count(), 0);
  assert.ok((await text(tab, '#what')).startsWith('</script>'));
});

const steps = [sample({ chunks: 40, runs: 2, seed: 3 }), sample({ chunks: 44, runs: 2, seed: 3 })];
page('the next step of the same heap keeps the place', { snapshot: steps[0] }, async (tab) => {
  const kept = await tab.evaluate((next) => {
    const { view, model: was } = window.quarry;
    const at = was.chunks.at[10];
    view.show(at, at + 4096, false);
    const { from, to } = view.range;
    view.mark([at + 16]);
    view.setModel(new was.constructor(next));
    return [from - view.range.from, to - view.range.to, view.model.chunks.count - was.chunks.count];
  }, steps[1]);
  assert.ok(Math.abs(kept[0]) < 600 && Math.abs(kept[1]) < 600, String(kept));
  assert.notEqual(kept[2], 0);
});

/* Blocks of each regime, some of them freed, in a process that says where they are. */
const PROGRAM = `
import ctypes, sys
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
for size in (100, 5000, 3000000):
    kept, freed = c.malloc(size), c.malloc(size)
    ctypes.memset(kept, 0, size)
    c.free(freed)
    print(size, kept, freed)
sys.stdout.flush()
sys.stdin.read()
`;

test('quarry map of a real process: its blocks are where it says, and the figures add up', { skip: !process.env.QUARRY_BIN }, async () => {
  const { QUARRY_BIN, QUARRY_LIB } = process.env;
  const program = spawn('python3', ['-c', PROGRAM], { env: { ...process.env, LD_PRELOAD: QUARRY_LIB }, stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  for await (const part of program.stdout) if ((said += part).split('\n').length > 3) break;
  const made = (file) => {
    const look = spawnSync(QUARRY_BIN, ['map', '-o', file, String(program.pid)], { encoding: 'utf8' });
    program.stdin.end();
    assert.equal(look.status, 0, look.stderr);
  };
  const { tab, faults, close } = await browser.open(null, { made });
  assert.match(await text(tab, '#panel-figures'), /The parts add up to what is mapped/);
  assert.ok(await tab.locator('#alarm').isHidden());
  const strays = await tab.evaluate(() => {
    const { model } = window.quarry;
    return model.lists.flatMap((l, n) => l.blocks.filter((address) => {
      const item = model.blockAt(address);
      return !item || (item.kind === 'chunk' ? model.chunks.list[item.index] !== n : model.cellLists.get(address)?.list !== n);
    })).length;
  });
  assert.equal(strays, 0, 'each entry of a list is a block in that list');
  for (const [size, kept, freed] of said.trim().split('\n').map((line) => line.split(' ').map(Number))) {
    await tab.fill('#query', hex(kept));
    await tab.press('#query', 'Enter');
    const panel = await text(tab, '#panel-block');
    assert.match(panel, /State\s+in use/, `${size} in use`);
    assert.ok(panel.includes(hex(kept)), 'memory at');
    const most = Number(panel.match(/Serves\s+malloc\(([\d,]+)\)/)[1].replaceAll(',', ''));
    assert.ok(size <= most && most < size * 1.3 + 4096, `${size} is what it serves, not ${most}`);
    await tab.fill('#query', hex(freed));
    await tab.press('#query', 'Enter');
    // Freed cells and chunks wait in the thread's cache; a mapping is gone.
    if (size < 100000) assert.match(await text(tab, '#panel-block'), /State\s+free, in a thread cache/, `${size} freed`);
  }
  assert.deepEqual(faults, []);
  await close();
});

/*
 * Times asserted are what the page's thread worked, not what the clock showed: that also depends on who else uses the machine. The clock's
 * are printed.
 */
test('a million chunks: open in under 3 s, pan and zoom at an interactive rate', { timeout: 180000 }, async (t) => {
  const snapshot = JSON.stringify(sample({ chunks: 1_000_000, runs: 4000 }));
  let opened, opening, parsing, slowness;
  /*
   * Promised for a machine that parses this JSON in 150 ms; a slower one has as much more time. Work, too, takes longer beside
   * others that use the memory: the best of three.
   */
  for (let i = 0; i < 3 && !(opening < 3000 * slowness); i++) {
    await opened?.close();
    opened = await browser.open(snapshot, { measure: true });
    opening = await workedMs(opened.tab);
    await opened.tab.evaluate(() => void JSON.parse(document.querySelector('#snapshot').textContent));
    parsing = (await workedMs(opened.tab)) - opening;
    slowness = Math.max(1, parsing / 150);
  }
  const { tab, faults, openMs, close } = opened;
  t.diagnostic(`opened in ${Math.round(openMs)} ms, of which ${Math.round(opening)} ms work, where parsing takes ${Math.round(parsing)} ms`);
  const frames = await tab.evaluate(async () => {
    const { view } = window.quarry;
    view.frames.length = 0;
    const rest = () => new Promise((done) => requestAnimationFrame(function wait() {
      if (view.motion || view.pending) requestAnimationFrame(wait);
      else done();
    }));
    const middle = view.axis.toU(view.model.chunks.at[400000]);
    for (let i = 0; i < 24; i++) {
      view.zoom(2, middle, 100);
      await rest();
      view.pan(0.3);
      await rest();
    }
    view.showAll();
    await rest();
    return view.frames.slice().sort((a, b) => a - b);
  });
  const perFrame = ((await workedMs(tab)) - opening - parsing) / frames.length;
  const at = (share) => frames[Math.floor(frames.length * share)];
  t.diagnostic(`${frames.length} frames: median ${at(0.5).toFixed(1)} ms, 95 % ${at(0.95).toFixed(1)} ms, worst ${at(0.9999).toFixed(1)} ms; work ${perFrame.toFixed(1)} ms each`);
  const began = performance.now();
  await tab.fill('#query', 'state:cached size:>1000');
  await tab.press('#query', 'Enter');
  await settle(tab);
  t.diagnostic(`search through all, and going there: ${Math.round(performance.now() - began)} ms`);
  assert.match(await text(tab, '#search-note'), /found/);
  assert.ok(opening < 3000 * slowness, `${opening} ms of work to open`);
  assert.ok(perFrame < 33 * slowness, `${perFrame} ms of work a frame`);
  assert.deepEqual(faults, []);
  await close();
});
