/**
 * Checks the plugin of the current folder within a second: `node pipewright/javascript/check.mjs`. Says in each tool's own words
 * what is wrong, with file, line and source line, and ends with 1: esbuild, the TypeScript compiler where there is a
 * tsconfig.json, and what goes wrong when the module is loaded.
 */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as process from 'node:process';
import { pathToFileURL } from 'node:url';

import { Mistake, bundle, main, manifest } from './bundle.mjs';

const FOLDER = 'build';
const COMPILER = 'node_modules/typescript/bin/tsc';
/** What Node.js has and the engine has not: a module that uses it while it is loaded fails here, as it would there. */
const ABSENT = ['process', 'Buffer', 'Intl', 'WebAssembly', 'global'];

await main(async () => {
  const { main, world, category } = await manifest();
  await mkdir(FOLDER, { recursive: true });
  const compiled = existsSync('tsconfig.json') ? compile() : true;
  const file = join(FOLDER, 'check.mjs');
  const { code } = await bundle({ main, outfile: file, forNode: true });
  await writeFile(file, code);
  // The compiler's words first: what it finds is most often why the rest fails.
  if (!(await compiled)) throw new Mistake('');
  const exported = await load(file);
  for (const name of ['plugin', category]) {
    if (name in exported) continue;
    const found = Object.keys(exported).join(', ') || 'nothing';
    throw new Mistake(`${main} does not export \`${name}\`, which the world \`${world}\` of package.json wants; it exports ${found}`);
  }
});

/** In the words of the compiler; whether it is content. */
function compile() {
  if (!existsSync(COMPILER)) throw new Mistake('typescript is missing; install it by `npm install`');
  // What it knew the last time makes the next one quick.
  const options = ['--noEmit', '--pretty', '--incremental', '--tsBuildInfoFile', join(FOLDER, 'check.tsbuildinfo')];
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [COMPILER, ...options], { stdio: ['ignore', 2, 2] });
    child.on('error', failed);
    child.on('exit', (code) => done(code === 0));
  });
}

/** The module of the plugin, as it would be loaded in the engine. */
async function load(file) {
  process.setSourceMapsEnabled(true);
  await import('./testing.mjs');
  for (const name of ABSENT) delete globalThis[name];
  try {
    return await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    throw new Mistake(`the plugin cannot be loaded:\n${error?.stack ?? error}`);
  }
}
