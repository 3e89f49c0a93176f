/**
 * Checks the plugin of the current folder within a second: `node pipewright/javascript/check.mjs`. Says in each tool's own words
 * what is wrong, with file, line and source line, and ends with 1: esbuild, the TypeScript compiler where there is a
 * tsconfig.json, and what goes wrong when the module is loaded.
 */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

import { bundle, manifest } from './bundle.mjs';
import { hint } from './missing.js';
import { Mistake, main } from './mistake.mjs';

const FOLDER = 'build';
/** What Node.js has and the engine has not: a module that uses it while it is loaded fails here, as it would there. */
const ABSENT = ['process', 'Buffer', 'WebAssembly'];

await main(async () => {
  const { main, world, category, locales, version: promised } = await manifest();
  await mkdir(FOLDER, { recursive: true });
  const compiled = existsSync('tsconfig.json') ? compile() : true;
  const file = join(FOLDER, 'check.mjs');
  const { code } = await bundle({ main, locales, outfile: file, forNode: true });
  await writeFile(file, code);
  // The compiler's words first: what it finds is most often why the rest fails.
  if (!(await compiled)) throw new Mistake('');
  const exported = await load(file);
  const { CATEGORIES } = await import('./answer.js');
  // A world of the author's own has several, which the build tells.
  for (const name of ['plugin', category].filter((name) => name === 'plugin' || name in CATEGORIES)) {
    if (name in exported) continue;
    const found = Object.keys(exported).join(', ') || 'nothing';
    throw new Mistake(`${main} does not export \`${name}\`, which the world \`${world}\` of package.json wants; it exports ${found}`);
  }
  // Whoever raised one of the two would publish the other.
  const { version } = exported.plugin.describe();
  if (promised !== undefined && promised !== version) {
    throw new Mistake(`package.json: the manifest has the version ${promised}, and the plugin says ${version}; make them the same`);
  }
});

/** In the words of the compiler; whether it is content. */
function compile() {
  const compiler = compilerPath();
  // What it knew the last time makes the next one quick. `--pretty` for the source lines.
  const options = ['--noEmit', '--pretty', '--incremental', '--tsBuildInfoFile', join(FOLDER, 'check.tsbuildinfo')];
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [compiler, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
    child.on('error', failed);
    child.on('close', (code) => {
      if (said) console.error((process.stderr.isTTY ? said : stripVTControlCharacters(said)).trimEnd());
      done(code === 0);
    });
  });
}

function compilerPath() {
  try {
    return fileURLToPath(new URL('bin/tsc', import.meta.resolve('typescript/package.json')));
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Mistake('typescript is missing; install it by `npm install`');
  }
}

/** The module of the plugin, as it would be loaded in the engine. */
async function load(file) {
  process.setSourceMapsEnabled(true);
  await import('./testing.mjs');
  const restore = await alike();
  try {
    return await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    throw new Mistake(`the plugin cannot be loaded:\n${await told(error)}`);
  } finally {
    restore();
  }
}

/** Globals as in the engine; gives back what undoes it. */
async function alike() {
  const [{ install }, { fetch }] = await Promise.all([import('./loop.js'), import('./fetch.js')]);
  const undo = install();
  globalThis.fetch = fetch;
  const before = ABSENT.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const name of ABSENT) delete globalThis[name];
  return () => {
    undo();
    for (const [name, property] of before) if (property) Object.defineProperty(globalThis, name, property);
  };
}

/** An error with its calls in the plugin's own files, and the line of the first. */
async function told(error) {
  if (!(error instanceof Error)) return String(error);
  const places = [...(error.stack ?? '').matchAll(/^ +at (?:.*\()?(?:file:\/\/)?(\/.*?):(\d+):(\d+)\)?$/gm)]
    .map(([, path, line, column]) => ({ path: relative('.', path), line, column }))
    .filter(({ path }) => !/^\.\.|(^|\/)pipewright\/javascript\//.test(path));
  const lines = [`${error.name}: ${error.message}${hint(error)}`];
  for (const { path, line, column } of places) lines.push(`    at ${path}:${line}:${column}`);
  const [first] = places;
  const text = first && (await readFile(first.path, 'utf8').catch(() => '')).split('\n')[first.line - 1];
  if (text) lines.splice(2, 0, `        ${text}`, `        ${' '.repeat(first.column - 1)}^`);
  return lines.join('\n');
}
