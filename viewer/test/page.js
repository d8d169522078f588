/* Opens the built page in a real Chromium, from a file, as a person would. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const CHROMIUM_ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
export const PAGE = process.env.QUARRY_VIEWER ?? new URL('../../build/release/share/quarry/viewer.html', import.meta.url).pathname;

export async function launch() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
  const folder = mkdtempSync(join(tmpdir(), 'quarry-viewer-'));
  let files = 0;
  return {
    /*
     * A tab with this snapshot (an object, text, or null for the page as it is built), or with the page that `made(file)` makes. `faults` collects
     * what must not happen.
     */
    async open(snapshot, { query = '', width = 1440, height = 860, measure = false, made = null, ...context } = {}) {
      const html = readFileSync(PAGE, 'utf8');
      const text = typeof snapshot === 'string' || snapshot === null ? snapshot : JSON.stringify(snapshot);
      const file = join(folder, `${++files}.html`);
      // As `quarry map` does it: no replacement patterns, no tag inside.
      if (made) made(file);
      else writeFileSync(file, text === null ? html : html.split('@SNAPSHOT@').join(text.replaceAll('<', '\\u003c')));
      const tab = await (await browser.newContext({ viewport: { width, height }, locale: 'en-GB', offline: true, ...context })).newPage();
      const faults = [];
      tab.on('console', (m) => ['error', 'warning'].includes(m.type()) && faults.push(`console: ${m.text()}`));
      tab.on('pageerror', (e) => faults.push(`exception: ${e.message}`));
      tab.on('request', (r) => /^(file|data|blob):/.test(r.url()) || faults.push(`request: ${r.url()}`));
      if (measure) {
        tab.meter = await tab.context().newCDPSession(tab);
        await tab.meter.send('Performance.enable', { timeDomain: 'threadTicks' });
      }
      const start = performance.now();
      await tab.goto(pathToFileURL(file).href + query);
      if (made || text !== null) await tab.waitForFunction(() => !document.querySelector('#welcome.wrong') ? window.quarry?.view.frames.length > 0 : true);
      return { tab, faults, openMs: performance.now() - start, close: () => tab.context().close() };
    },
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/* Waits until the picture is at rest. */
export async function settle(tab) {
  await tab.waitForFunction(() => !window.quarry.view.motion && !window.quarry.view.pending);
}

/* Processor time of the page's main thread since it was opened with `measure`. */
export async function workedMs(tab) {
  const { metrics } = await tab.meter.send('Performance.getMetrics');
  return metrics.find((m) => m.name === 'TaskDuration').value * 1000;
}
