/** What Node.js and browsers have and a plugin has not, and what takes its place: for the bundler, and for errors at run time. */

const FILES = '`files` of the layer';
const HTTP = '`http` of the layer, or `fetch`';
const NONE = 'nothing: a plugin is alone in its sandbox';

/** By the name of Node.js' own module, without `node:`. */
export const MODULES = {
  fs: FILES,
  'fs/promises': FILES,
  path: 'texts with `/`, or a package such as `path-browserify`',
  http: HTTP,
  https: HTTP,
  http2: HTTP,
  net: HTTP,
  tls: HTTP,
  dns: HTTP,
  crypto: '`files.digest` for digests of files, and the global `crypto` (`crypto.subtle`, `crypto.getRandomValues`)',
  buffer: '`Uint8Array` with `TextEncoder` and `TextDecoder`, or the package `buffer/`',
  url: 'the globals `URL` and `URLSearchParams`',
  querystring: 'the global `URLSearchParams`',
  zlib: '`files.zip` and `files.unzip`, or the globals `CompressionStream` and `DecompressionStream`',
  stream: 'iterables of `Uint8Array`, or the global `ReadableStream`',
  'stream/web': 'the global `ReadableStream`',
  timers: 'the globals `setTimeout` and `setInterval`',
  'timers/promises': 'a promise that `setTimeout` resolves',
  events: 'the global `EventTarget`, or the package `events/`',
  util: 'the globals `TextEncoder` and `TextDecoder`, or the package `util/`',
  assert: '`throw new Failure(…)`, or the package `assert/`',
  os: 'settings of the action',
  process: 'settings of the action, and `action.environment`',
  child_process: NONE,
  worker_threads: NONE,
  cluster: NONE,
};

export const instead = (name) => MODULES[name.replace(/^node:/, '')] ?? NONE;

/** By the name of a global that is not there. */
const GLOBALS = {
  process: 'there is no process: take settings of the action, or `action.environment`',
  require: 'there is no `require` at run time: import at the top of a module, so that it is bundled',
  module: 'a module of this kind is an ECMAScript module: use `export`',
  Buffer: 'there is no `Buffer`: take `Uint8Array` with `TextEncoder` and `TextDecoder`',
  Intl: 'name the languages in `pipewright.locales` of package.json, like ["de"], and the build brings it',
  __dirname: 'there is no folder at run time: import what the plugin needs, so that it is bundled',
  window: 'there is no browser: globals are on `globalThis`',
  document: 'there is no browser',
  XMLHttpRequest: `take ${HTTP}`,
  WebSocket: `take ${HTTP}`,
  WebAssembly: 'a plugin cannot run WebAssembly of its own',
};

/** What to do about an error of the engine, as ` (…)`; empty where nothing is known. */
export function hint({ message }) {
  const [, name] = /^(\w+) is not defined$/.exec(message) ?? [];
  if (Object.hasOwn(GLOBALS, name)) return ` (${GLOBALS[name]})`;
  return /\bIntl\.\w+ is not a (constructor|function)$/.test(message) ? ' (it is not in the polyfill: take a package of npm)' : '';
}
