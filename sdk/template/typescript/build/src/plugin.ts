/** Lists the files of an artifact. */

import { Failure, defineAction, definePlugin, files, log } from '../pipewright/javascript/pipewright.js';

const listFiles = defineAction({
  provider: '{{provider}}',
  documentation: 'Writes `files.json`: the name, size and SHA-256 of each file of the input artifact.',
  inputs: 1,
  outputs: 1,
  settings: {
    ending: { default: '', documentation: 'The ending of the files that are listed; all without it.' },
    atLeast: { type: 'integer', default: 1, documentation: 'How many there must be.' },
  },
  variables: { Files: 'How many files there were.' },

  run(action, settings) {
    const found = files
      .list(action.input)
      .filter((entry) => entry.kind === 'file' && entry.path.endsWith(settings.ending))
      .map(({ path, size }) => ({ path, size, sha256: files.digest(`${action.input}/${path}`) }));
    if (found.length < settings.atLeast) {
      throw new Failure(`${found.length} files end in \`${settings.ending}\`, and \`AtLeast\` wants ${settings.atLeast}`);
    }
    files.write(`${action.output}/files.json`, `${JSON.stringify(found, null, 2)}\n`);
    log.info(`listed ${found.length} files`);
    return { summary: `${found.length} files`, variables: { Files: found.length } };
  },
});

export const { plugin, build } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  build: [listFiles],
});
