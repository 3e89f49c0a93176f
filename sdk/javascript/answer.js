/** What an action's function returns: an outcome for its category, or a wait. */

import { Failure } from './failure.js';
import { text } from './settings.js';
import { bytesOf } from './streams.js';

/** The host refuses larger continuations. */
const CONTINUATION_BYTES_MAX = 16 * 1024;

/**
 * Asks to be called again, after a time or on a signal, whichever comes first. It costs the host nothing; nothing of the
 * plugin survives but the continuation.
 */
export class Wait {
  /**
   * @param {object} wait
   * @param {number} [wait.seconds] from now on; the plugin needs no clock for it
   * @param {number} [wait.until] milliseconds since 1970-01-01 UTC, instead of `seconds`
   * @param {string} [wait.signal] the kind of signal that ends the wait, e.g. `approval`
   * @param {any} [wait.continuation] what `action.resumed` hands back; at most 16 KiB as JSON
   * @param {string} [wait.summary] for a person who looks at the pipeline meanwhile
   */
  constructor({ seconds, until, signal, continuation = null, summary }) {
    this.until = seconds === undefined ? until : Date.now() + seconds * 1000;
    this.signal = signal;
    this.continuation = continuation;
    this.summary = summary;
  }

  abi() {
    const continuation = bytesOf(JSON.stringify(this.continuation));
    if (continuation.length > CONTINUATION_BYTES_MAX) {
      throw new Failure(`the continuation is larger than ${CONTINUATION_BYTES_MAX} bytes`);
    }
    const until = this.until === undefined ? undefined : BigInt(Math.round(this.until));
    return { until, signal: this.signal, continuation, summary: this.summary };
  }
}

/** `{ summary, variables, links, externalId }`: one line for a person, and the rest where there is any. */
export function report({ summary, variables = {}, links = [], externalId } = {}) {
  const given = Object.entries(variables).filter(([, value]) => value !== undefined && value !== null);
  return { summary, externalId, variables: given.map(([name, value]) => ({ name, value: text(value) })), links };
}

/** A report, and `targets`: where it went, each `{ id, kind, status, url }`. */
export function deployed({ targets = [], ...rest } = {}) {
  const complete = ({ id, kind, status = 'succeeded', url }) => ({ id, kind, status, url });
  return { report: report(rest), targets: targets.map(complete) };
}
