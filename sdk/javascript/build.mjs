/**
 * Builds the plugin of the current folder: `node pipewright/javascript/build.mjs [FILE.wasm]`.
 *
 * Its package.json names the module (`main`) and, under `pipewright`, the world of pipewright/wit/plugin.wit that it offers.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { bundle, checkedWorld, installed, manifest } from './bundle.mjs';
import { Mistake, main } from './mistake.mjs';
import { reader } from './trace.js';

await main(async () => {
  const file = process.argv[2] ?? 'build/plugin.wasm';
  const { componentize } = await installed('@bytecodealliance/componentize-js');
  const { main, world, locales } = await manifest();
  const sourcePath = join(dirname(file), 'bundle.mjs');
  const { code, map, locales: bundled } = await bundle({ main, locales, outfile: sourcePath });
  if (bundled) console.error(`the plugin uses \`Intl\`: the component has the languages ${bundled.join(', ')}; \`pipewright.locales\` of package.json says others`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(sourcePath, code);
  const { component } = await componentize({
    sourcePath,
    ...(await checkedWorld(world, dirname(file))),
    // `fetch` of the layer takes the place of the engine's, which knows only another version of wasi:http.
    disableFeatures: ['http', 'fetch-event'],
  }).catch((error) => {
    const find = reader(map);
    const place = (whole, row, column) => {
      const found = find(Number(row), Number(column) - 1);
      return found ? `${found.file}:${found.line}:${found.column + 1}` : whole;
    };
    throw new Mistake(error.message.replaceAll(/[^\s@]*bundle\.mjs:(\d+):(\d+)/g, place));
  });
  await writeFile(file, component);
});
