/* The legend of a colour mode: only what occurs, each with how many bytes it has. */
import { modes, palette, rgb, PATTERN } from './colours.js';
import { el } from './dom.js';

const ANGLES = { [PATTERN.diagonal]: '135deg', [PATTERN.lines]: '0deg', [PATTERN.bars]: '90deg' };

/* Of what colours the blocks and, if it is shown, of the line that says which pages are in memory. */
export function legendOf(view) {
  const lists = [listOf(view, view.colourBy, view.t('legend'))];
  if (view.overlays.residency && view.colourBy !== 'residency') lists.push(listOf(view, 'residency', view.t('pages')));
  return lists;
}

function listOf(view, name, label) {
  const { model, t } = view;
  const buckets = modes[name].buckets(model);
  const paints = palette(buckets, view.dark, rgb(view.css.paper));
  const bytes = name === 'residency' ? residencyBytes(model) : view.totals(name);
  const entries = buckets
    .map((bucket, i) => ({ bucket, paint: paints[i], bytes: bytes[i] }))
    .filter((e) => e.bytes > 0 && !e.bucket.free)
    .map((e) => el('li', {}, el('span', { class: 'swatch', style: background(e.paint) }), `${labelOf(e.bucket, t)} `, el('span', { class: 'amount' }, t.bytes(e.bytes))));
  if (buckets.some((b) => b.free)) entries.push(el('li', { class: 'note' }, t('legendFaded')));
  if (name !== view.colourBy) entries.unshift(el('li', { class: 'amount' }, `${label}:`));
  return el('ul', { class: 'legend', 'aria-label': label }, entries);
}

function background(paint) {
  const line = `#${paint.line.toString(16).padStart(8, '0').slice(2).match(/../g).reverse().join('')}`;
  if (paint.pattern === PATTERN.none) return `background:${paint.css}`;
  if (paint.pattern === PATTERN.dots) return `background:radial-gradient(${line} 1px, transparent 1.2px) 0 0/4px 4px ${paint.css}`;
  if (paint.pattern === PATTERN.cross)
    return `background:repeating-linear-gradient(45deg, transparent 0 4px, ${line} 4px 5px), repeating-linear-gradient(135deg, transparent 0 4px, ${line} 4px 5px) ${paint.css}`;
  return `background:repeating-linear-gradient(${ANGLES[paint.pattern]}, transparent 0 2px, ${line} 2px 4px) ${paint.css}`;
}

function labelOf(bucket, t) {
  if (bucket.key === 'class') return bucket.limit === Infinity ? t('classRest') : t('classUpTo', { size: t.bytes(bucket.limit) });
  if (bucket.key === 'arena') return t('arenaN', { n: bucket.arena });
  return t(`colour.${bucket.key}`);
}

function residencyBytes(model) {
  const bytes = [0, 0, 0, 0, 0];
  for (const s of model.segments)
    for (let a = s.from; a < s.to; a += model.pageSize) {
      const state = model.pageState(s, a);
      bytes[state < 0 ? 4 : state] += Math.min(model.pageSize, s.to - a);
    }
  return bytes;
}
