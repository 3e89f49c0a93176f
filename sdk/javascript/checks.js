/**
 * What is wrong with an action's settings, told when a pipeline is made and not only when the action runs. An author calls nothing of
 * it: the bundle exports it beside what the plugin offers.
 */

import { offering } from './declare.js';
import { wrong } from './settings.js';

export const checks = {
  /** By the types of the settings alone; the host gives no secret ones. */
  check(actionType, given) {
    const declared = offering(actionType)?.settings ?? {};
    return given.flatMap(({ name, value }) => {
      const message = wrong(declared, name, value);
      return message === undefined ? [] : [{ setting: name, message }];
    });
  },
};
