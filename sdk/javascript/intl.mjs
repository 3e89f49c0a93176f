/**
 * `Intl` for a plugin that uses it, which the engine does not have: finds out what a plugin uses, and says what of a polyfill of npm is
 * bundled for that. A plugin that uses nothing of it is bundled without a line of it.
 */

import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { Mistake } from './mistake.mjs';
import { dataOf } from './locales.js';

const SCOPE = '@formatjs/';
/** In the order in which they are loaded: each stands on those before it. */
const ALWAYS = ['intl-getcanonicallocales', 'intl-locale', 'intl-pluralrules', 'intl-numberformat', 'intl-datetimeformat'];
/** By the member of `Intl` without which they are left out. */
const NAMED = {
  ListFormat: 'intl-listformat',
  RelativeTimeFormat: 'intl-relativetimeformat',
  DisplayNames: 'intl-displaynames',
  DurationFormat: 'intl-durationformat',
  Segmenter: 'intl-segmenter',
};
/** The one that has the most languages. */
const LANGUAGES = 'intl-datetimeformat';
const DEFAULT = 'en';

/** What the global `Intl` becomes in a look at the plugin, where no comment or text is taken for it. */
const MARK = 'INTL_OF_THE_PLUGIN';
export const DEFINE = Object.fromEntries(['Intl', 'globalThis.Intl', 'self.Intl'].map((name) => [name, MARK]));
const USE = new RegExp(`\\b${MARK}\\b|\\.toLocale(?:Date|Time)?String(?:\\?\\.)?\\((?!\\))`);
/** `de`, `de-AT`, `zh-Hant-TW`, `de-u-nu-latn`; but not what is imported under such a name. */
const TEXT = /(?<!\b(?:from |import |import\(|require\())(["'`])([a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?(?:-u-[a-z0-9-]+)?)\1/g;

/**
 * The text of a module that brings `Intl`; `undefined` where nothing uses it. `all` is all that is bundled but the layer, `own` gives of
 * that what the author wrote; `declared` are the locales of package.json, in the place of those that are named there.
 */
export async function module({ all, own, declared }) {
  if (!declared && !USE.test(all)) return undefined;
  const packages = [...ALWAYS, ...Object.keys(NAMED).filter((name) => new RegExp(`\\b${name}\\b`).test(all)).map((name) => NAMED[name])];
  const data = await installed(packages);
  const known = new Set([...data.get(LANGUAGES)].filter((locale) => [...data.values()].every((there) => there.size === 0 || dataOf(locale, there))));
  const locales = chosen(declared ?? named(await own()), known, declared !== undefined);
  const imports = [];
  for (const [name, there] of data) {
    imports.push(`${SCOPE}${name}/polyfill-force.js`);
    // Fewer languages have plurals of their own for a region.
    for (const locale of there.size > 0 ? locales : []) imports.push(`${SCOPE}${name}/locale-data/${dataOf(locale, there)}.js`);
  }
  imports.push(layer('zones.js'), `${SCOPE}intl-datetimeformat/add-all-tz.js`);
  const lines = [...new Set(imports)].map((path) => `import ${JSON.stringify(path)};`);
  lines.push(`import { install } from ${JSON.stringify(layer('locales.js'))};`, `install(${JSON.stringify({ locales, known: [...known] })});`);
  return { locales, contents: lines.join('\n') };
}

const layer = (file) => fileURLToPath(new URL(file, import.meta.url));

/** Of which languages each package has data. */
async function installed(packages) {
  const data = new Map();
  const missing = [];
  for (const name of packages) {
    try {
      data.set(name, await localesIn(new URL('locale-data/', import.meta.resolve(`${SCOPE}${name}/polyfill-force.js`))));
    } catch (error) {
      if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
      missing.push(name);
    }
  }
  if (missing.length === 0) return data;
  const { peerDependencies } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8'));
  const wanted = missing.map((name) => `${SCOPE}${name}@${peerDependencies[SCOPE + name]}`).join(' ');
  throw new Mistake(`the plugin uses \`Intl\`, and a package for it is missing; install it by \`npm install --save-dev --save-exact ${wanted}\``);
}

async function localesIn(folder) {
  const files = await readdir(folder).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
    return [];
  });
  return new Set(files.filter((name) => name.endsWith('.js')).map((name) => name.slice(0, -'.js'.length)));
}

function named(code) {
  return [...code.matchAll(TEXT)].map(([, , text]) => text);
}

/** The names of the data of some locales, with those of the language that is taken where none is named. */
function chosen(locales, known, mustBe) {
  const found = new Set([DEFAULT]);
  for (const locale of locales) {
    const name = canonical(locale) && dataOf(locale, known);
    if (name) found.add(name);
    else if (mustBe) throw new Mistake(`package.json: \`pipewright.locales\` has ${JSON.stringify(locale)}, and there is no data of such a language`);
  }
  return [...found];
}

function canonical(locale) {
  try {
    return Intl.getCanonicalLocales(locale)[0];
  } catch {
    return undefined;
  }
}
