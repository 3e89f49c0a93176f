/** The stand-in of `pipewright:plugin/log`. */

import { call } from './state.mjs';

export function write(level, message) {
  call('`log`').log.push({ level, message });
}

export function progress(percent, summary) {
  call('`log.progress`').progress.push({ percent, summary });
}
