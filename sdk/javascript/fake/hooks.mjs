/**
 * Hooks of Node.js' module loader: the host's interfaces are the stand-ins of this folder, and TypeScript is made JavaScript by
 * esbuild, which Node.js 20 does not do itself.
 */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const INTERFACE = /^(?:pipewright|wasi):[a-z-]+\/([a-z-]+)@/;
const TYPESCRIPT = /\.m?ts$/;

export async function resolve(specifier, context, next) {
  const [, name] = INTERFACE.exec(specifier) ?? [];
  if (name !== undefined) {
    const url = new URL(`${name}.mjs`, import.meta.url);
    if (!existsSync(url)) throw new Error(`there is no stand-in for \`${specifier}\`: test what uses it by cases/`);
    return { url: url.href, shortCircuit: true };
  }
  // TypeScript imports a module under the name that it will have.
  if (specifier.startsWith('.') && TYPESCRIPT.test(context.parentURL ?? '')) {
    const file = fileURLToPath(new URL(specifier, context.parentURL));
    const written = [file, `${file}.ts`, file.replace(/js$/, 'ts')].find((path) => existsSync(path) && /\.\w+$/.test(path));
    if (written) return next(pathToFileURL(written).href, context);
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!TYPESCRIPT.test(url) || !url.startsWith('file:')) return next(url, context);
  const sourcefile = fileURLToPath(url);
  const { transform } = await import('esbuild');
  const options = { loader: 'ts', format: 'esm', target: 'es2022', sourcefile, sourcemap: 'inline' };
  const { code } = await transform(await readFile(sourcefile, 'utf8'), options);
  return { format: 'module', source: code, shortCircuit: true };
}
