/** The JavaScript layer for plugins: pipewright.d.ts is its documentation, and what an editor shows. */

export { Failure } from './failure.js';
export { Wait } from './answer.js';
export { ask, defineAction, definePlugin } from './declare.js';
export * as caches from './caches.js';
export * as commands from './commands.js';
export * as files from './files.js';
export * as http from './http.js';
export * as log from './log.js';
export * as results from './results.js';
export * as secrets from './secrets.js';
export * as tools from './tools.js';
