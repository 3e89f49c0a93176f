/**
 * The globals of a plugin, before any module of its own: what the web has and the engine has not, and an error in words for what
 * would else be wrong without a word.
 */

import { fetch } from './fetch.js';
import * as loop from './loop.js';
import * as promises from './promises.js';

promises.install();
loop.install();
globalThis.fetch = fetch;

const NO_LOCALES =
  'the engine has no languages and time zones (there is no `Intl`); make the text of numbers, or import a polyfill of npm, such as `@formatjs/intl-datetimeformat`';
// Without a language and a time zone they are what the language says; how many arguments come before these.
for (const [type, names, before] of [
  [Date, ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString'], 0],
  [Number, ['toLocaleString'], 0],
  [BigInt, ['toLocaleString'], 0],
  [Array, ['toLocaleString'], 0],
  [String, ['toLocaleLowerCase', 'toLocaleUpperCase'], 0],
  [String, ['localeCompare'], 1],
]) {
  for (const name of names) {
    const plain = type.prototype[name];
    const value = function (...values) {
      if (values.slice(before).every((value) => value === undefined)) return plain.apply(this, values);
      throw new TypeError(`\`${name}\` with a language or options: ${NO_LOCALES}`);
    };
    Object.defineProperty(type.prototype, name, { configurable: true, writable: true, value });
  }
}

// The engine has no iteration of its streams.
ReadableStream.prototype[Symbol.asyncIterator] ??= async function* () {
  const reader = this.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
    reader.releaseLock();
  }
};
