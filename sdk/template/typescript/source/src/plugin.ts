/** Takes one file of a granted directory. */

import { Failure, ask, defineAction, definePlugin, files } from '../pipewright/javascript/pipewright.js';

const takeFile = defineAction({
  provider: '{{provider}}',
  documentation: 'Takes one file of a granted directory.',
  outputs: 1,
  settings: {
    directory: { default: 'source', documentation: 'The name under which the directory is granted.' },
    file: { documentation: 'The file that is taken.' },
  },
  variables: { Digest: 'The SHA-256 of the file.' },

  run(action, settings) {
    const source = `${action.directory(settings.directory)}/${settings.file}`;
    const digest = files.digest(source);
    // A pipeline may ask for the revision that a poll found: anything else would be a surprise.
    if (action.revision !== undefined && action.revision !== digest) {
      throw Failure.revisionUnavailable(`\`${settings.file}\` has changed since; start anew`);
    }
    files.copy(source, `${action.output}/${settings.file}`);
    return { revision: { id: digest }, summary: `took ${settings.file}`, variables: { Digest: digest } };
  },

  // What would be fetched now, without fetching it: the host asks from time to time, and starts the pipeline when it is new.
  latest(action, settings) {
    return { id: files.digest(`${action.directory(settings.directory)}/${settings.file}`) };
  },
});

export const { plugin, source } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  asks: [ask('read-directory', { name: 'Directory', reason: 'the directory in which the file lies' })],
  source: [takeFile],
});
