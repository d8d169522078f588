/*
 * What is coloured by what. A mode has buckets; every byte of every leaf falls into one. Colours are chosen so that any two
 * buckets of a mode differ for people with each kind of colour blindness, or else have different patterns (test/colours.test.js).
 */
import { CELL, STATES } from './snapshot.js';

const NONE = 0;
export const PATTERN = { none: NONE, diagonal: 1, dots: 2, cross: 3, lines: 4, bars: 5 };

const stateBuckets = [
  { key: 'inUse', light: '#4079b3', dark: '#5b96d2', pattern: NONE },
  { key: 'mapped', light: '#22466e', dark: '#a9cbef', pattern: NONE },
  { key: 'free', light: '#c08a0c', dark: '#f0c75e', pattern: NONE },
  { key: 'unsorted', light: '#cf5a16', dark: '#ee8a4a', pattern: PATTERN.diagonal },
  { key: 'fast', light: '#a83a7c', dark: '#dd86bd', pattern: PATTERN.bars },
  { key: 'cached', light: '#0a9a6a', dark: '#38bfa0', pattern: NONE },
  { key: 'inbox', light: '#7757b8', dark: '#ab90e4', pattern: PATTERN.dots },
  { key: 'moving', light: '#3f8fa3', dark: '#8fd0de', pattern: PATTERN.diagonal },
  { key: 'top', light: '#8a949e', dark: '#6d7780', pattern: PATTERN.lines },
  { key: 'uncarved', light: '#dcdfe2', dark: '#2d343b', pattern: NONE },
  { key: 'other', light: '#56616b', dark: '#98a2ab', pattern: PATTERN.cross },
  { key: 'broken', light: '#d0021b', dark: '#ff5f66', pattern: PATTERN.cross },
];
const B = Object.fromEntries(stateBuckets.map((b, i) => [b.key, i]));
const bucketOfState = {
  'in use': B.inUse, binned: B.free, unsorted: B.unsorted, fast: B.fast, cached: B.cached,
  moving: B.moving, inbox: B.inbox, top: B.top, fence: B.other, mapped: B.mapped, broken: B.broken,
};
const STATE_BUCKET = STATES.map((name) => bucketOfState[name]);
const CELL_BUCKET = [];
CELL_BUCKET[CELL.inUse] = B.inUse;
CELL_BUCKET[CELL.free] = B.free;
CELL_BUCKET[CELL.cached] = B.cached;
CELL_BUCKET[CELL.remote] = B.inbox;
CELL_BUCKET[CELL.uncarved] = B.uncarved;
CELL_BUCKET[CELL.moving] = B.moving;

export const LIVE_BUCKETS = [B.inUse, B.mapped];
export const FREE_BUCKETS = [B.free, B.unsorted, B.fast, B.cached, B.inbox, B.moving];

/* Light to dark in even steps: legible without hue. */
const ramp = {
  light: ['#f2d98a', '#dfc36c', '#c3b056', '#9fa04e', '#7b914f', '#588155', '#38705c', '#225d60', '#1b4a5e', '#1b3755', '#1c2547', '#171334'],
  dark: ['#35506b', '#3a6278', '#417584', '#4d878c', '#5f9990', '#77aa92', '#94ba95', '#b2c89b', '#cdd5a6', '#e3e0b8', '#f2ead0', '#fdf6ea'],
};
export const CLASS_LIMITS = [32, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 131072, 1048576, Infinity];
const classBuckets = CLASS_LIMITS.map((limit, i) => ({ key: 'class', limit, light: ramp.light[i], dark: ramp.dark[i], pattern: NONE }));
const arenaColours = [
  ['#4079b3', '#5b96d2'], ['#c08a0c', '#f0c75e'], ['#0a9a6a', '#38bfa0'], ['#a83a7c', '#dd86bd'],
  ['#cf5a16', '#ee8a4a'], ['#22466e', '#a9cbef'], ['#7f8b2a', '#b9c46a'], ['#7757b8', '#ab90e4'],
];
const arenaPatterns = [NONE, NONE, NONE, PATTERN.bars, PATTERN.diagonal, NONE, PATTERN.lines, PATTERN.dots];
const residencyBuckets = [
  { key: 'absent', light: '#d3d7db', dark: '#343c44', pattern: NONE },
  { key: 'resident', light: '#4079b3', dark: '#5b96d2', pattern: NONE },
  { key: 'swapped', light: '#cf5a16', dark: '#ee8a4a', pattern: PATTERN.diagonal },
  { key: 'huge', light: '#22466e', dark: '#a9cbef', pattern: NONE },
  { key: 'unknown', light: '#8a949e', dark: '#6d7780', pattern: PATTERN.lines },
];
export const RESIDENCY_UNKNOWN = 4;

/* What holds no block is shown in the same hue, faded, where the colour itself does not say it. */
function faded(buckets) {
  return buckets.concat(buckets.map((b) => ({ ...b, free: true })));
}

export function classOf(bytes) {
  let i = 0;
  while (bytes > CLASS_LIMITS[i]) i++;
  return i;
}

const isLive = (state) => state === 0 || STATES[state] === 'mapped';

export const modes = {
  state: {
    buckets: () => stateBuckets,
    chunk: (model, i) => STATE_BUCKET[model.chunks.state[i]],
    cell: (model, run, state) => CELL_BUCKET[state],
    emptyRun: (model, run) => (run.state === 'dirty' ? B.free : B.uncarved),
    slack: B.uncarved,
  },
  class: {
    buckets: () => [...faded(classBuckets), stateBuckets[B.uncarved]],
    chunk: (model, i) => classOf(model.chunks.size[i]) + (isLive(model.chunks.state[i]) ? 0 : CLASS_LIMITS.length),
    cell: (model, run, state) =>
      state === CELL.uncarved ? 2 * CLASS_LIMITS.length : classOf(run.stride) + (state === CELL.inUse ? 0 : CLASS_LIMITS.length),
    emptyRun: () => 2 * CLASS_LIMITS.length,
    slack: 2 * CLASS_LIMITS.length,
  },
  arena: {
    buckets: (model) => {
      const own = Array.from({ length: arenasShown(model) }, (_, i) => ({
        key: 'arena', arena: i, light: arenaColours[i % 8][0], dark: arenaColours[i % 8][1], pattern: arenaPatterns[i % 8],
      }));
      return [...faded(own), stateBuckets[B.uncarved]];
    },
    chunk: (model, i) => {
      const n = arenasShown(model);
      return Math.abs(model.chunks.arena[i]) % n + (isLive(model.chunks.state[i]) ? 0 : n);
    },
    cell: (model, run, state) => {
      const n = arenasShown(model);
      if (state === CELL.uncarved) return 2 * n;
      return (model.caches[run.owner]?.arena ?? run.owner ?? 0) % n + (state === CELL.inUse ? 0 : n);
    },
    emptyRun: (model) => 2 * arenasShown(model),
    slack: (model) => 2 * arenasShown(model),
  },
  residency: { buckets: () => residencyBuckets },
};

function arenasShown(model) {
  return Math.min(Math.max(model.arenas.length, 1), 48);
}

export function slackOf(mode, model) {
  return typeof mode.slack === 'function' ? mode.slack(model) : mode.slack;
}

export function rgb(hex) {
  return [parseInt(hex.slice(1, 3), 16), parseInt(hex.slice(3, 5), 16), parseInt(hex.slice(5, 7), 16)];
}

export function mix(a, b, share) {
  return a.map((v, i) => Math.round(v + (b[i] - v) * share));
}

/* As a canvas's bytes lie in memory, little-endian. */
export function pack([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

export function luminance([r, g, b]) {
  const f = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
}

/* For each bucket: its colour, the darker line of its pattern, what is written on it, and all as RGB. */
export function palette(buckets, dark, paper) {
  return buckets.map((b) => {
    let colour = rgb(dark ? b.dark : b.light);
    if (b.free) colour = mix(colour, paper, 0.62);
    const ink = luminance(colour) > 0.3 ? '#14181c' : '#ffffff';
    const line = mix(colour, luminance(colour) > 0.3 ? [0, 0, 0] : [255, 255, 255], 0.28);
    const dim = mix(colour, paper, 0.78);
    return { rgb: colour, fill: pack(colour), line: pack(line), dim: pack(dim), dimRgb: dim, pattern: b.pattern, ink, css: `rgb(${colour.join(' ')})` };
  });
}
