/**
 * Write Pipewright plugins in JavaScript.
 *
 * An action is a plain object: what it is called, which settings it takes, and a function that runs it. What a plugin says
 * of itself is made of the same objects.
 *
 *     import { Failure, definePlugin, files, log } from '../pipewright/javascript/pipewright.js';
 *
 *     const count = {
 *       provider: 'Count',
 *       documentation: 'Counts files by their ending.',
 *       inputs: 1,
 *       settings: {
 *         ending: { documentation: 'The ending of the files that count.', default: '.md' },
 *         atLeast: { type: 'integer', optional: true, documentation: 'How many there must be at least.' },
 *       },
 *       variables: { Files: 'How many files there were.' },
 *       run(action, settings) {
 *         const found = files.list(action.input).filter((entry) => entry.path.endsWith(settings.ending));
 *         if (found.length < (settings.atLeast ?? 0)) {
 *           throw new Failure(`only ${found.length} files end in ${settings.ending}`);
 *         }
 *         log.info(`counted ${found.length} files`);
 *         return { summary: `${found.length} files`, variables: { Files: found.length } };
 *       },
 *     };
 *
 *     export const { plugin, build } = definePlugin({
 *       name: 'example/count',
 *       version: '0.1.0',
 *       documentation: 'Counts files.',
 *       build: [count],
 *     });
 *
 * In CodePipeline's configuration these settings are `Ending` and `AtLeast`. A plugin sees its artifacts as folders
 * (`/inputs/NAME`, `/outputs/NAME`), folders that the operator granted (`/directories/NAME`), and nothing else. There is no
 * `node:fs` and no global `fetch`: use `files` and `http`, which are synchronous, as everything here.
 */

export { Failure } from './failure.js';
export { Wait } from './answer.js';
export { ask, definePlugin } from './declare.js';
export * as files from './files.js';
export * as http from './http.js';
export * as log from './log.js';
export * as secrets from './secrets.js';
