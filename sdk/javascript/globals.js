/**
 * The globals of a plugin, before any module of its own: what the web has and the engine has not, and an error in words for what
 * would else be wrong without a word.
 */

import { fetch } from './fetch.js';
import * as loop from './loop.js';
import * as promises from './promises.js';
import { described } from './trace.js';

promises.install();
loop.install();
globalThis.fetch = fetch;

// An error that is logged is told with its place in the author's own files; the engine knows only the bundle.
for (const name of ['debug', 'error', 'info', 'log', 'trace', 'warn']) {
  const plain = console[name];
  console[name] = (...values) => plain.apply(console, values.map((value) => (value instanceof Error ? described(value).text : value)));
}

const HOW = 'name the languages in `pipewright.locales` of package.json, like ["de"], and the build brings them';
// Without a language and a time zone they are what the language says. The build saw no use of them, or there would be an `Intl`.
for (const type of globalThis.Intl ? [] : [Date, Number, BigInt, Array]) {
  const names = type === Date ? ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString'] : ['toLocaleString'];
  for (const name of names) refuse(type, name, 0, () => `the component has no languages and time zones (\`Intl\`); ${HOW}`);
}
// The same in all languages but these.
const isSpecial = (locale) => /^(az|el|hy|lt|tr)\b/.test(locale);
for (const name of ['toLocaleLowerCase', 'toLocaleUpperCase']) {
  refuse(String, name, 0, ([locales]) => [locales].flat().some(isSpecial) && 'there are no letters of single languages; take a package of npm');
}
refuse(String, 'localeCompare', 1, () => 'there are no orders of languages (`Intl.Collator`); compare by `<`, or take a package of npm');

/** Lets a method throw where it is given a language or options after its first arguments, unless there is nothing `wrong` with them. */
function refuse({ prototype }, name, before, wrong) {
  const plain = prototype[name];
  const value = function (...values) {
    const given = values.slice(before);
    const why = given.some((value) => value !== undefined) && wrong(given);
    if (why) throw new TypeError(`\`${name}\` with a language or options: ${why}`);
    return plain.apply(this, values);
  };
  Object.defineProperty(prototype, name, { configurable: true, writable: true, value });
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
