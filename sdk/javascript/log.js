/** Log lines and progress of the running action. */

import * as host from 'pipewright:plugin/log@0.1.0';

import { maybe, number } from './shape.js';

/** For whoever looks for a fault. */
export function debug(message) {
  host.write('debug', String(message));
}

export function info(message) {
  host.write('info', String(message));
}

/** Something that a person should look at, and that does not fail the action. */
export function warn(message) {
  host.write('warn', String(message));
}

/** What fails the action. */
export function error(message) {
  host.write('error', String(message));
}

/** What the action does just now, and how far it is where that is known: 0 to 100. */
export function progress(summary, percent = undefined) {
  maybe(number)(percent, 'log.progress.percent');
  host.progress(percent === undefined || percent === null ? undefined : Math.max(0, Math.min(100, Math.round(percent))), String(summary));
}
