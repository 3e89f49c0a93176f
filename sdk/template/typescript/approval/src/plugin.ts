/** Waits until a person approves, and wants to know why. */

import { Failure, Wait, defineAction, definePlugin } from '../pipewright/javascript/pipewright.js';

const approve = defineAction({
  provider: '{{provider}}',
  documentation: 'Waits until a person approves, and wants to know why.',
  settings: { question: { default: 'May this go out?', documentation: 'What the reviewer is asked.' } },

  run(action, settings) {
    // Called a first time, it waits, which costs the host nothing; the signal calls it again.
    const signal = action.resumed?.signal;
    if (!signal) return new Wait({ signal: 'approval', summary: settings.question });
    const { status, summary, by } = read(signal.payload);
    if (!summary) return { approved: false, summary: `${by} does not say why` };
    return { approved: status === 'Approved', summary };
  },
});

/** What the signal `approval` carries. */
interface Answer {
  status: 'Approved' | 'Rejected';
  summary?: string;
  by?: string;
}

function read(payload: Uint8Array): Answer {
  try {
    return JSON.parse(new TextDecoder().decode(payload));
  } catch (error) {
    throw new Failure(`the answer is not understood: ${error}`);
  }
}

export const { plugin, approval } = definePlugin({
  name: '{{plugin}}',
  version: '0.1.0',
  documentation: '{{description}}',
  approval: [approve],
});
