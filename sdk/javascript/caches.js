/** Directories that are kept for later executions, under keys: what a build would fetch or make again. */

import * as host from 'pipewright:plugin/caches@0.1.0';

import { calling, Failure } from './failure.js';
import { list, maybe, record, text } from './shape.js';

const OPTIONS = record({ fallbackKeys: maybe(list(text)) });

/** Whether it is granted: for whoever goes on without. */
export const isGranted = () => host.isGranted();

/** Lays what is kept under the key into a directory below the scratch, which is made; `undefined` where there is nothing. */
export function restore(key, directory, options = {}) {
  text(key, 'caches.restore.key');
  text(directory, 'caches.restore.directory');
  OPTIONS(options, 'caches.restore.options');
  return calling(() => host.restore(key, options.fallbackKeys ?? [], directory), Failure.configuration);
}

/** Keeps a directory below the scratch under the key, once the action has succeeded with this call. */
export function save(key, directory) {
  text(key, 'caches.save.key');
  text(directory, 'caches.save.directory');
  calling(() => host.save(key, directory), Failure.configuration);
}
