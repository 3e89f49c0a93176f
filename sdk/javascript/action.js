/** The running action, as its function sees it: what the declaration says of it, its artifacts, and what it left when it waited. */

import { Failure } from './failure.js';
import { digest } from './files.js';
import { text } from './shape.js';
import { own } from './streams.js';

/** One run of one action. */
export class Action {
  /** A private folder, empty at the start and gone after the call. */
  scratch = '/scratch';

  constructor(request, revision) {
    /** `{ account, region, pipeline, executionId, stage, action, actionExecutionId }` */
    this.context = request.context;
    /** `{ category, owner, provider, version }` */
    this.actionType = request.actionType;
    /**
     * The same for every attempt at this action execution: give it to outside systems, so that a second attempt does nothing
     * twice.
     */
    this.idempotencyKey = request.idempotencyKey;
    /** 1 at first; more when the host died while the action ran, and runs it again. */
    this.attempt = request.attempt;
    /** The revision that a source is to fetch; `undefined` for the newest one. */
    this.revision = revision;
    /** The declaration's `commands`. */
    this.commands = request.commands;
    /** The declaration's `environmentVariables`, by name. */
    this.environment = new Map(request.environment.map(({ name, value }) => [name, value]));
    /** The variables that the declaration wants from this action; empty where it does not say. */
    this.outputVariables = request.outputVariables;
    /** The folders of the input artifacts by name, in the declaration's order. */
    this.inputs = new Map(request.inputs.map((name) => [name, `/inputs/${name}`]));
    /** The folders of the output artifacts to make by name, in the declaration's order. */
    this.outputs = new Map(request.outputs.map(({ name }) => [name, `/outputs/${name}`]));
    /** For each output artifact the declaration's file patterns; empty where it has none. */
    this.outputFiles = new Map(request.outputs.map(({ name, files }) => [name, files]));
    /**
     * What the action left when it answered *waiting*, and why it is called again; `undefined` on the first call.
     * `signal` is `undefined` where the time came, or else `{ kind, payload }`, the payload as a `Uint8Array`.
     */
    this.resumed = request.resumed && resumed(request.resumed);
  }

  /** The folder of the first input artifact. */
  get input() {
    for (const path of this.inputs.values()) return path;
    throw Failure.configuration('the action has no input artifact; add one to its `inputArtifacts`');
  }

  /** The folder of the first output artifact. */
  get output() {
    for (const path of this.outputs.values()) return path;
    throw Failure.configuration('the action has no output artifact; add one to its `outputArtifacts`');
  }

  /** A folder of the host that the operator granted under this name, which often comes from a setting. */
  directory(name) {
    text(name, 'action.directory.name');
    if (['', '.', '..'].includes(name) || /[/\\\0]/.test(name)) {
      throw Failure.configuration(
        `\`${name}\` is not the name of a granted directory: give the name under which the grant lists it, not a path`,
      );
    }
    const path = `/directories/${name}`;
    try {
      // It is no file; but where the grant is missing, the host names it.
      digest(path);
    } catch (failure) {
      if (failure.kind === 'permission-error') throw failure;
    }
    return path;
  }
}

function resumed({ continuation, wake }) {
  let value;
  try {
    value = JSON.parse(new TextDecoder().decode(continuation));
  } catch (error) {
    throw new Failure(`the continuation of an earlier version is not understood: ${error.message}`);
  }
  return { continuation: value, signal: wake.tag === 'signal' ? { ...wake.val, payload: own(wake.val.payload) } : undefined };
}
