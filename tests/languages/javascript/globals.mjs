/** What a plugin finds where the build saw no use of `Intl`: it is told, and nothing else is taken for it. In the plugin's folder. */

import assert from 'node:assert/strict';

delete globalThis.Intl;
await import('./pipewright/javascript/globals.js');

const date = new Date(0);
const how = /`to\w+` with a language or options: the component has no languages and time zones .*`pipewright.locales` of package.json/;
for (const name of ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString']) {
  assert.throws(() => date[name]('de'), how);
  assert.throws(() => date[name](undefined, { timeZone: 'Europe/Berlin' }), how);
  assert.equal(typeof date[name](), 'string');
}
for (const value of [1.5, 2n, [1]]) {
  assert.throws(() => value.toLocaleString('de'), how);
  assert.equal(typeof value.toLocaleString(), 'string');
}
// The letters of most languages are one and the same, and those of some are not.
assert.equal('I'.toLocaleLowerCase('de'), 'i');
assert.equal('i'.toLocaleUpperCase(['en', 'fr']), 'I');
for (const language of ['tr', 'az-Latn', 'lt', 'el-GR']) assert.throws(() => 'I'.toLocaleLowerCase(language), /letters of single languages/);
assert.equal('a'.localeCompare('b'), -1);
assert.throws(() => 'a'.localeCompare('b', 'de'), /orders of languages/);
