/* texts(lang): a function from a key to words in that language, with its way of writing numbers. */
import { en } from './en.js';
import { zh } from './zh.js';

export const languages = { en, zh };
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function texts(lang) {
  const words = languages[lang] ?? en;
  const numbers = new Intl.NumberFormat(lang === 'zh' ? 'zh-CN' : 'en-US');
  const t = (key, values) => {
    const text = words[key] ?? key.replace(/^[a-zA-Z]+\./, '');
    return values ? text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : text;
  };
  t.lang = lang === 'zh' ? 'zh' : 'en';
  t.has = (key) => key in words;
  t.count = (n) => numbers.format(n);
  t.bytes = (n) => {
    if (n < 10240) return `${numbers.format(Math.round(n))} B`;
    let unit = 0;
    let value = n;
    while (value >= 1024 && unit < UNITS.length - 1) {
      value /= 1024;
      unit++;
    }
    return `${numbers.format(value < 10 ? Math.round(value * 100) / 100 : value < 100 ? Math.round(value * 10) / 10 : Math.round(value))} ${UNITS[unit]}`;
  };
  t.exact = (n) => (n < 10240 ? t.bytes(n) : `${t.bytes(n)} (${numbers.format(n)} B)`);
  return t;
}
