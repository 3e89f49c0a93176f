/**
 * Which plugins `Intl` is bundled for, and with which languages: in a plugin's folder, with a source in place of the plugin's own. With
 * the argument `without` its packages are not installed.
 */

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';

import { bundle } from './pipewright/javascript/bundle.mjs';
import { Mistake } from './pipewright/javascript/mistake.mjs';

const main = 'src/uses.js';

function bundled(source, locales = undefined) {
  writeFileSync(main, source);
  return bundle({ main, locales, outfile: 'build/bundle.mjs' });
}

if (process.argv[2] === 'without') {
  const wanted = 'npm install --save-dev --save-exact @formatjs/intl-getcanonicallocales@3.2.12 ';
  await assert.rejects(bundled("export const text = (1).toLocaleString('de');"), (error) => error instanceof Mistake && error.message.includes(wanted));
  assert.equal((await bundled('export const text = String(1);')).locales, undefined);
  process.exit();
}

mkdirSync('node_modules/formats', { recursive: true });
writeFileSync('node_modules/formats/package.json', '{ "name": "formats", "type": "module", "main": "index.js" }');
writeFileSync('node_modules/formats/index.js', "export const german = () => new Intl.NumberFormat('de');\nexport const other = 'fr';");

const none = (await bundled('export const a = 1;')).code.length;

/** What is in the source, the languages that are bundled for it, and those that package.json declares. */
const ROWS = [
  // -- nothing of it is used
  ["// new Intl.NumberFormat('de')\nexport const a = 1;", undefined],
  ["export const a = 'Intl', b = 'de-DE';", undefined],
  ['export const a = (it) => it.toLocaleString();', undefined],
  ['export const a = (Intl) => Intl.NumberFormat;', undefined],
  ["export const a = 'A'.toLocaleLowerCase('de');", undefined],
  ["function unused(it) { return it.toLocaleString('de'); }\nexport const a = 1;", undefined],
  ["export { other } from 'formats';", undefined],
  // -- it is used
  ['export const a = (it) => new Intl.NumberFormat(it);', ['en']],
  ['export const a = (it) => globalThis.Intl.NumberFormat(it);', ['en']],
  ["export const a = (it) => it.toLocaleString('de-DE', { timeZone: 'Europe/Berlin' });", ['en', 'de']],
  ["export const a = (it) => it?.toLocaleDateString?.('fr-CA');", ['en', 'fr-CA']],
  ["export const a = (it) => it.toLocaleTimeString(['en-US', 'pt-BR']);", ['en', 'pt']],
  ["const ALL = ['zh-TW', `sv`, 'de-u-nu-latn'];\nexport const a = (it, at) => it.toLocaleString(ALL[at]);", ['en', 'zh-Hant', 'sv', 'de']],
  // -- what is no language, a language that there is not, and what a package names
  ["export const a = (it, b = ['is-valid', 'no-op', 'xx', 'xx-YY', '-de', 'DE']) => it.toLocaleString(b);", ['en']],
  ["import { german } from 'formats';\nexport const a = german;", ['en']],
  // -- what package.json says takes the place of what is named
  ["export const a = (it) => it.toLocaleString('de');", ['en', 'fr', 'de-AT'], ['fr', 'de-AT']],
  ['export const a = 1;', ['en', 'ja'], ['ja-JP']],
];

for (const [source, expected, declared] of ROWS) {
  const { code, locales } = await bundled(source, declared);
  assert.deepEqual(locales, expected, source);
  // The languages' data are hundreds of kilobytes, and the source a line.
  assert.equal(code.length - none > 100_000, expected !== undefined, source);
}
for (const declared of [['xx'], ['not a language']]) {
  await assert.rejects(bundled('export const a = 1;', declared), (error) => error instanceof Mistake && error.message.includes(declared[0]));
}

/** Whether some of the polyfill is in a bundle. */
const has = async (source, part) => assert.match((await bundled(source)).code, new RegExp(part));
await has("export const a = new Intl.ListFormat('de');", 'Intl.ListFormat');
