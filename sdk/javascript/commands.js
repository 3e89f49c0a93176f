/** Programs of the host's machine, run apart from it while no call of the plugin does. */

import * as host from 'pipewright:plugin/commands@0.1.0';

import { Wait } from './answer.js';
import { calling, Failure } from './failure.js';
import { byName, flag, list, maybe, pairs, positive, record, text } from './shape.js';

const TEXTS = maybe(byName(text));
const OPTIONS = record({
  directory: maybe(text),
  environment: TEXTS,
  secrets: TEXTS,
  secretFiles: TEXTS,
  network: maybe(flag),
  image: maybe(text),
  wallSeconds: maybe(positive),
  continuation() {},
  summary: maybe(text),
});

/** Has a program run once this call has returned the `Wait`; one in each call. */
export function start(words, options = {}) {
  list(text)(words, 'commands.start.words');
  OPTIONS(options, 'commands.start.options');
  const { directory, environment, secrets, secretFiles, network, image, wallSeconds, continuation, summary } = options;
  const job = {
    arguments: words,
    directory: directory ?? '',
    environment: pairs(environment),
    secrets: pairs(secrets),
    network: network ?? false,
    image: image ?? undefined,
    wallSeconds: wallSeconds ?? undefined,
  };
  const files = pairs(secretFiles);
  calling(() => (files.length > 0 ? host.startWithFiles(job, files) : host.start(job)), Failure.configuration);
  return new Wait({ isForProgram: true, continuation, summary });
}

/** How the program ended for which this call was made; `undefined` if the call was made for something else. */
export function ended() {
  const end = host.ended();
  if (end === undefined) return undefined;
  const [cpuMicros, memoryBytesMax, wallMicros] = [end.cpuMicros, end.memoryBytesMax, end.wallMicros].map(Number);
  return { ...end, cpuMicros, memoryBytesMax, wallMicros, succeeded: end.status === 0 && end.limit === undefined };
}

/** The declaration's environment variables that are secrets, each with what names its secret. */
export function declaredSecrets() {
  return Object.fromEntries(host.declaredSecrets().map(({ name, value }) => [name, value]));
}
