/**
 * Builds the plugin of the current folder: `node pipewright/javascript/build.mjs [FILE.wasm]`.
 *
 * Its package.json names the module (`main`) and, under `pipewright`, the world of pipewright/wit/plugin.wit that it offers.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const { main, pipewright } = JSON.parse(await readFile('package.json', 'utf8'));
const file = process.argv[2] ?? 'build/plugin.wasm';

const { componentize } = await import('@bytecodealliance/componentize-js').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error('componentize-js is missing; install it by `npm install`');
  process.exit(1);
});

try {
  const { component } = await componentize({
    sourcePath: main,
    witPath: 'pipewright/wit',
    worldName: pipewright.world,
    // `http` of the layer takes the place of the engine's fetch, which is asynchronous.
    disableFeatures: ['http', 'fetch-event'],
  });
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, component);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
