/* The player's page, with real plays in it: forwards and back, in both languages and themes, with nothing on the console. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { words } from '../play/texts.js';
import { CHROMIUM_ARGS } from './page.js';

let browser;
let folder;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: CHROMIUM_ARGS });
  folder = mkdtempSync(join(tmpdir(), 'quarry-play-'));
});

after(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

async function open(lesson, { query = '', ...context } = {}) {
  const file = join(folder, `${lesson ?? 'course'}.html`);
  execFileSync(process.env.QUARRY_BIN, ['play', ...(lesson ? [lesson] : []), '-o', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const tab = await (await browser.newContext({ viewport: { width: 1400, height: 900 }, locale: 'en-GB', offline: true, ...context })).newPage();
  const faults = [];
  tab.on('console', (m) => ['error', 'warning'].includes(m.type()) && faults.push(`console: ${m.text()}`));
  tab.on('pageerror', (e) => faults.push(`exception: ${e.message}`));
  tab.on('request', (r) => /^(file|data|blob):/.test(r.url()) || faults.push(`request: ${r.url()}`));
  await tab.goto(pathToFileURL(file).href + query);
  return { tab, faults };
}

const text = (tab, selector) => tab.locator(selector).innerText();

test('both languages say the same things', () => {
  assert.deepEqual(Object.keys(words.zh).sort(), Object.keys(words.en).sort());
});

test('a lesson goes forwards and back, by keys, buttons, slider and lines', async () => {
  const { tab, faults } = await open('coalesce');
  const steps = await tab.evaluate(() => window.quarry.play.steps.length);
  const seen = [await text(tab, 'main')];
  for (let i = 1; i < steps; i++) {
    await tab.keyboard.press('ArrowRight');
    assert.equal(await text(tab, '#count'), `${i + 1} / ${steps}`);
    seen.push(await text(tab, 'main'));
  }
  assert.equal(await tab.locator('#next').isDisabled(), true);
  for (let i = steps - 2; i >= 0; i--) {
    await tab.keyboard.press('ArrowLeft');
    assert.equal(await text(tab, 'main'), seen[i], `step ${i + 1} looks as it did`);
  }
  await tab.locator('#next').click();
  assert.match(await text(tab, '#call'), /b = malloc 20k/);
  await tab.locator('#slider').fill('4');
  assert.match(await text(tab, '#call'), /free b/);
  await tab.locator('#lines button', { hasText: 'free d' }).click();
  assert.match(await text(tab, '#call'), /free d/);
  assert.deepEqual(faults, []);
});

test('the path lights the stores that were asked, in order', async () => {
  const { tab, faults } = await open('coalesce');
  await tab.evaluate(() => window.quarry.go(6)); // e = malloc 35k
  const lit = await tab.locator('.station.lit').evaluateAll((nodes) => nodes.map((n) => n.lastChild.textContent));
  assert.deepEqual(lit, ['unsorted bin', 'large bin', 'larger bins', 'top']);
  assert.match(await text(tab, '.station.found'), /top/);
  await tab.evaluate(() => window.quarry.go(0));
  assert.match(await text(tab, '#kernel'), /brk/);
  assert.deepEqual(faults, []);
});

test('events that were not recorded are counted', async () => {
  const { tab, faults } = await open('coalesce');
  assert.doesNotMatch(await text(tab, '#events'), /not recorded/);
  await tab.evaluate(() => (window.quarry.play.steps[1].path_left_out = 904));
  await tab.evaluate(() => window.quarry.go(1));
  assert.match(await text(tab, '#events li:last-child'), /904 more, which were not recorded/);
  assert.deepEqual(faults, []);
});

test('what changed in a header is marked', async () => {
  const { tab, faults } = await open('coalesce');
  await tab.evaluate(() => window.quarry.go(3)); // free a
  const row = tab.locator('#blocks tbody tr').nth(1);
  assert.equal(await row.locator('.turned').innerText(), '0', "b's P bit has turned");
  assert.match(await text(tab, '#bins'), /unsorted bin[^]*a/);
  assert.deepEqual(faults, []);
});

test('an abort shows its message, and a damaged header what stands in it', async () => {
  const { tab, faults } = await open('overflow');
  await tab.evaluate(() => window.quarry.go(3));
  assert.equal(await text(tab, '#blocks .wrong'), '0x4141414141414141');
  await tab.keyboard.press('ArrowRight');
  assert.match(await text(tab, '#message'), /written past its end/);
  assert.deepEqual(faults, []);
});

test('Chinese, dark: every step of every lesson', { timeout: 120000 }, async () => {
  const { tab, faults } = await open(null, { query: '?lang=zh', colorScheme: 'dark' });
  const lessons = await tab.locator('#lesson option').count();
  assert.ok(lessons > 10);
  for (let i = 0; i < lessons; i++) {
    await tab.locator('#lesson').selectOption(String(i));
    const wrong = await tab.evaluate(() => {
      const { play } = window.quarry;
      const bad = [];
      for (let s = 0; s < play.steps.length; s++) {
        window.quarry.go(s);
        if (/undefined|NaN|\[object|state\./.test(document.body.innerText)) bad.push(`${play.lesson} ${s + 1}`);
      }
      return bad;
    });
    assert.deepEqual(wrong, []);
  }
  assert.equal(await tab.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await tab.locator('#language').click();
  assert.match(await text(tab, '#script h2'), /script/i);
  assert.deepEqual(faults, []);
});
