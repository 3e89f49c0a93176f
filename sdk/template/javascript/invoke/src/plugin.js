/** Counts the files of an artifact. */

import { Failure, defineAction, definePlugin, files } from '../pipewright/javascript/pipewright.js';

const countFiles = defineAction({
  provider: '{{provider}}',
  documentation: 'Counts the files of an artifact.',
  inputs: 1,
  settings: { most: { type: 'integer', optional: true, documentation: 'How many files there may be at most.' } },
  variables: { Files: 'How many files there are.' },

  run(action, settings) {
    const count = files.list(action.input).filter((entry) => entry.kind === 'file').length;
    if (settings.most !== undefined && count > settings.most) {
      throw new Failure(`there are ${count} files, more than \`Most\` allows`);
    }
    return { summary: `${count} files`, variables: { Files: count } };
  },
});

export const { plugin, invoke } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  invoke: [countFiles],
});
