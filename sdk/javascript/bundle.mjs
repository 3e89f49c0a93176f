/** Bundles the plugin of the current folder into one module: what it imports of npm, TypeScript, and the layer. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { instead } from './missing.js';
import { MAP } from './trace.js';

/** Says what is wrong, without the stack of this script. */
export class Mistake extends Error {}

/** A package of the folder's own `node_modules`. */
export async function installed(name) {
  return import(name).catch((error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Mistake(`${name} is missing; install it by \`npm install\``);
  });
}

/** What package.json says of the plugin: `{ main, world, category }`. */
export async function manifest() {
  const text = await readFile('package.json', 'utf8');
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Mistake(`package.json: ${error.message}`);
  }
  const { main, pipewright: { world } = {} } = read;
  if (typeof main !== 'string') throw new Mistake('package.json needs `main`, the module of the plugin, like "src/plugin.js"');
  if (typeof world !== 'string') {
    throw new Mistake('package.json needs `pipewright` with a `world` of pipewright/wit/plugin.wit: {"world": "build-plugin"}');
  }
  return { main, world, category: world.replace(/-plugin$/, '') };
}

/** The interface: beside this layer in a plugin's folder, and inside of it as a package of npm. */
export function witPath() {
  return ['../wit', 'wit'].map((path) => fileURLToPath(new URL(path, import.meta.url))).find((path) => existsSync(path));
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

/**
 * The bundle as a text. `forNode` is for checks and tests: without the globals of the engine, and with `async` as it is.
 * Mistakes are written to standard error in esbuild's own words, with file, line and source line.
 */
export async function bundle({ main, outfile, forNode = false }) {
  const { build } = await installed('esbuild');
  const globals = forNode ? '' : `import ${JSON.stringify(fileURLToPath(new URL('globals.js', import.meta.url)))};`;
  const { outputFiles, errors } = await build({
    stdin: { contents: `${globals} export * from ${JSON.stringify(`./${main}`)};`, resolveDir: process.cwd() },
    bundle: true,
    write: false,
    outfile,
    format: 'esm',
    // The engine has what the web has, and nothing of Node.js.
    platform: 'browser',
    target: 'es2022',
    mainFields: ['browser', 'module', 'main'],
    external: ['pipewright:*', 'wasi:*'],
    define: { 'process.env.NODE_ENV': '"production"' },
    // A rejection of a native async function that nobody awaits is not to be seen; see promises.js.
    supported: forNode ? {} : { 'async-await': false, 'async-generator': false, 'for-await': false },
    plugins: [withoutNode],
    sourcemap: forNode ? 'inline' : 'external',
    legalComments: 'none',
    logLevel: 'warning',
    keepNames: true,
  }).catch((error) => {
    if (Array.isArray(error.errors)) throw new Mistake('');
    throw error;
  });
  if (errors.length > 0) throw new Mistake('');
  const code = outputFiles.find(({ path }) => path.endsWith('.mjs')).text;
  if (forNode) return { code };
  const map = shortened(JSON.parse(outputFiles.find(({ path }) => path.endsWith('.map')).text), dirname(outfile));
  // At the end: the lines before it stay where the map has them.
  return { code: `${code}\nglobalThis[Symbol.for('${MAP.description}')] = ${JSON.stringify(JSON.stringify(map))};\n`, map };
}

/** With paths from the plugin's folder on, and only the author's own source lines. */
function shortened({ mappings, sources, sourcesContent }, folder) {
  const paths = sources.map((source) => relative('.', resolve(folder, source)));
  const own = (path, index) => (/(^|\/)(node_modules|pipewright\/javascript)\//.test(path) ? null : sourcesContent[index]);
  return { mappings, sources: paths, sourcesContent: paths.map(own) };
}

/** Runs a script's work, and ends with 1 after a mistake. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    if (error.message) console.error(error.message);
    process.exitCode = 1;
  }
}
