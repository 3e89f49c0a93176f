/** The stand-in of `pipewright:plugin/results`, with the host's limits. */

import { call, refused } from './state.mjs';

const REPORTS_MAX = 100;
/** Of the cases or files of one report. */
const ITEMS_MAX = 10_000;
const NAME_CHARS_MAX = 1_000;
const MESSAGE_CHARS_MAX = 5_000;
/** What about one of them there is besides its texts. */
const ITEM_BYTES = 128;
const GOOD = ['succeeded', 'skipped'];

export function report(name, { tag, val }) {
  const running = call('`results`');
  if (running.reports >= REPORTS_MAX) throw refused('quota', `a call keeps ${REPORTS_MAX} reports: put several into one`);
  if (name.trim() === '') throw refused('invalid', 'the report has no name: give it one, such as `unit`');
  const list = tag === 'tests' ? 'cases' : 'files';
  const items = val[list].map(fitting);
  const isKept = kept(items, running);
  const leftOut = items.length - isKept.filter(Boolean).length;
  if (leftOut > 0) running.log.push({ level: 'warn', message: `the report ${name} is not kept whole: ${leftOut} of it are left out` });
  running.reports += 1;
  running.results[name] = { ...val, [list]: items.filter((_, index) => isKept[index]) };
}

/** An item whose texts are cut. */
function fitting(item) {
  const cut = (key, value) => (typeof value === 'string' ? [...value].slice(0, key === 'message' ? MESSAGE_CHARS_MAX : NAME_CHARS_MAX).join('') : value);
  return Object.fromEntries(Object.entries(item).map(([key, value]) => [key, cut(key, value)]));
}

/** Which there is room for: those that did not succeed before all others. */
function kept(items, running) {
  const isKept = items.map(() => false);
  const isGood = ({ status = 'succeeded' }) => GOOD.includes(status);
  let room = ITEMS_MAX;
  for (const turn of [false, true]) {
    for (const [index, item] of items.entries()) {
      if (isGood(item) !== turn || room === 0) continue;
      const { status, ...texts } = item;
      const lengths = Object.values(texts).map((value) => (typeof value === 'string' ? new TextEncoder().encode(value).length : 0));
      const bytes = lengths.reduce((sum, length) => sum + length, ITEM_BYTES);
      if (bytes > running.reportBytesLeft) continue;
      running.reportBytesLeft -= bytes;
      room -= 1;
      isKept[index] = true;
    }
  }
  return isKept;
}
