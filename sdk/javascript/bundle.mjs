/** Bundles the plugin of the current folder into one module: what it imports of npm, TypeScript, and the layer. */

import { existsSync } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import * as intl from './intl.mjs';
import { Mistake } from './mistake.mjs';
import { instead } from './missing.js';
import { MAP } from './trace.js';

const LAYER = fileURLToPath(new URL('.', import.meta.url));

/** A package of the folder's own `node_modules`. */
export async function installed(name) {
  return import(name).catch((error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Mistake(`${name} is missing; install it by \`npm install\``);
  });
}

/** What package.json says of the plugin: `{ main, world, category, locales, version }`. */
export async function manifest() {
  const text = await readFile('package.json', 'utf8');
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Mistake(`package.json: ${error.message}`);
  }
  const { main, version, pipewright: { world, locales } = {} } = read;
  if (typeof main !== 'string') throw new Mistake('package.json needs `main`, the module of the plugin, like "src/plugin.js"');
  if (typeof world !== 'string') {
    throw new Mistake('package.json needs `pipewright` with a `world` of pipewright/wit/plugin.wit: {"world": "build-plugin"}');
  }
  if (locales !== undefined && !(Array.isArray(locales) && locales.every((locale) => typeof locale === 'string'))) {
    throw new Mistake('package.json: `pipewright.locales` must be a list of languages, like ["de", "fr-CA"]');
  }
  return { main, world, category: world.replace(/-plugin$/, ''), locales, version };
}

/** The interface: beside this layer in a plugin's folder, and inside of it as a package of npm. */
function witPath() {
  return ['../wit', 'wit'].map((path) => fileURLToPath(new URL(path, import.meta.url))).find((path) => existsSync(path));
}

/** A copy of it in a folder, and in it the plugin's world with what every plugin of this layer has besides: `{ witPath, worldName }`. */
export async function checkedWorld(world, folder) {
  const copy = join(folder, 'wit');
  await rm(copy, { recursive: true, force: true });
  await cp(witPath(), copy, { recursive: true });
  const [line] = /^package .*;$/m.exec(await readFile(join(copy, 'plugin.wit'), 'utf8'));
  const own = `checked-${world}`;
  await writeFile(join(copy, 'checked.wit'), `${line}\n\n@since(version = 0.1.0)\nworld ${own} {\n  include ${world};\n  include checked;\n}\n`);
  return { witPath: copy, worldName: own };
}

/** Node.js' own modules are not there; the error names the import, and what takes its place. */
const withoutNode = {
  name: 'without-node',
  setup(build) {
    const names = builtinModules.filter((name) => !name.startsWith('_')).map((name) => name.replace('/', '\\/'));
    build.onResolve({ filter: new RegExp(`^(node:.*|${names.join('|')})$`) }, async ({ path, resolveDir, kind, pluginData }) => {
      if (pluginData === 'again') return undefined;
      // A package of the same name, in node_modules, is meant where there is one.
      if (!path.startsWith('node:')) {
        const found = await build.resolve(`${path}/`, { resolveDir, kind, pluginData: 'again' });
        if (found.errors.length === 0 && !found.external) return found;
      }
      const text = `\`${path}\` is a module of Node.js, which a plugin does not have; in its place: ${instead(path)}`;
      return { errors: [{ text }] };
    });
  },
};

/** What esbuild says of a package that is not there, with what to do here in the place of its own advice, which is of no use. */
function advised(error) {
  const [, path] = /^Could not resolve "([^"]+)"$/.exec(error.text) ?? [];
  if (path === undefined || /^[./]/.test(path)) return error;
  const [name] = /^(@[^/]+\/)?[^/]+/.exec(path);
  const text = `Run \`npm install ${name}\` in the plugin's folder: what is imported is bundled from its \`node_modules\`, and nothing of the machine is there later.`;
  return { ...error, notes: [{ text, location: null }] };
}

/** In esbuild's own form, with file, line and source line. */
async function say(kind, messages) {
  const { formatMessages } = await installed('esbuild');
  const told = await formatMessages(messages, { kind, color: process.stderr.isTTY, terminalWidth: process.stderr.columns });
  if (told.length > 0) console.error(told.join('').trimEnd());
}

/** What esbuild makes. Mistakes are written to standard error, and warnings too unless it is only a look. */
async function built(contents, { isLook = false, ...options }) {
  const { build } = await installed('esbuild');
  const { outputFiles, warnings } = await build({
    logLevel: 'silent',
    ...options,
    stdin: { contents, resolveDir: process.cwd() },
    bundle: true,
    write: false,
    format: options.format ?? 'esm',
    // The engine has what the web has, and nothing of Node.js.
    platform: 'browser',
    target: 'es2022',
    mainFields: ['browser', 'module', 'main'],
    external: ['pipewright:*', 'wasi:*', ...(options.external ?? [])],
    define: { 'process.env.NODE_ENV': '"production"', ...options.define },
    plugins: [withoutNode],
    legalComments: 'none',
  }).catch(async (error) => {
    if (!Array.isArray(error.errors)) throw error;
    await say('error', error.errors.map(advised));
    throw new Mistake('');
  });
  if (!isLook) await say('warning', warnings);
  return (ending) => outputFiles.find(({ path }) => path.endsWith(ending)).text;
}

/**
 * The bundle as a text, and the locales that are in it, if any. `forNode` is for checks and tests: without the globals of the engine,
 * and with `async` and `Intl` as they are.
 */
export async function bundle({ main, locales, outfile, forNode = false }) {
  const plugin = `export * from ${JSON.stringify(`./${main}`)};`;
  const look = async (options) => (await built(plugin, { define: intl.DEFINE, isLook: true, ...options }))('');
  const needed = await intl.module({ all: await look({}), own: () => look({ packages: 'external', external: [`${LAYER}*`] }), declared: locales });
  const layer = (name) => JSON.stringify(`${LAYER}${name}`);
  const whole = `import ${layer('globals.js')}; ${plugin} export { checks } from ${layer('checks.js')};`;
  const file = await built(forNode ? plugin : whole, {
    outfile,
    // A rejection of a native async function that nobody awaits is not to be seen; see promises.js.
    supported: forNode ? {} : { 'async-await': false, 'async-generator': false, 'for-await': false },
    sourcemap: forNode ? 'inline' : 'external',
    keepNames: true,
  });
  const code = file('.mjs');
  if (forNode) return { code };
  // Before all else, and beside the bundle: its source map would be as large as it is.
  const before = needed ? (await built(needed.contents, { format: 'iife', minifyWhitespace: true, minifySyntax: true }))('') : '';
  const map = shortened(JSON.parse(file('.map')), dirname(outfile), before.split('\n').length - 1);
  // At the end: the lines before it stay where the map has them.
  const text = `${before}${code}\nglobalThis[Symbol.for('${MAP.description}')] = ${JSON.stringify(JSON.stringify(map))};\n`;
  return { code: text, map, locales: needed?.locales };
}

/** With paths from the plugin's folder on, only the author's own source lines, and so many lines before it. */
function shortened({ mappings, sources, sourcesContent }, folder, before) {
  const paths = sources.map((source) => relative('.', resolve(folder, source)));
  const own = (path, index) => (/(^|\/)(node_modules|pipewright\/javascript)\//.test(path) ? null : sourcesContent[index]);
  return { mappings: ';'.repeat(before) + mappings, sources: paths, sourcesContent: paths.map(own) };
}
