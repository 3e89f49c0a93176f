/** Why an action failed: CodePipeline's failure types, with a message for a person. */

const KINDS = [
  'job-failed', 'configuration-error', 'permission-error', 'revision-out-of-sync', 'revision-unavailable', 'system-unavailable',
];

/**
 * Throw it to fail the action. The message says what is wrong, where, and how to mend it.
 *
 * `new Failure(…)` is for work that failed: a compiler, a page that does not parse. The others are for what the declaration,
 * a grant or an outside system did.
 */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {'job-failed' | 'configuration-error' | 'permission-error' | 'revision-out-of-sync' | 'revision-unavailable'
   *   | 'system-unavailable'} kind
   * @param {{ cause?: unknown }} [options] `cause` is told in the log
   */
  constructor(message, kind = 'job-failed', options = undefined) {
    if (!KINDS.includes(kind)) throw new TypeError(`there is no kind of failure \`${String(kind)}\`; there are ${KINDS.join(', ')}`);
    super(message, options);
    this.name = 'Failure';
    this.kind = kind;
  }

  /** The pipeline's declaration asks for something impossible; name the setting and how to mend it. */
  static configuration(message) {
    return new Failure(message, 'configuration-error');
  }

  /** A grant or an outside system refused. */
  static permission(message) {
    return new Failure(message, 'permission-error');
  }

  /** The revision that a source was asked for is not to be had (any more). */
  static revisionUnavailable(message) {
    return new Failure(message, 'revision-unavailable');
  }

  /** An outside system cannot be reached just now. */
  static systemUnavailable(message) {
    return new Failure(message, 'system-unavailable');
  }
}

/** Calls the host about files, caches, programs, results, secrets or tools, and makes a `Failure` of its refusal. */
export function calling(call, invalid = (text) => new Failure(text)) {
  try {
    return call();
  } catch (error) {
    switch (error?.payload?.tag) {
      case 'denied':
        throw Failure.permission(error.payload.val);
      case 'invalid':
        throw invalid(error.payload.val);
      case 'crashed':
        throw new Failure(`the tool crashed: ${error.payload.val}`);
      case 'not-found':
      case 'quota':
      case 'io':
        throw new Failure(error.payload.val);
    }
    throw error;
  }
}
