/** What goes wrong in the scripts of this layer, for whoever runs one. */

/** Says what is wrong, without the stack of the script. */
export class Mistake extends Error {}

/** Runs a script's work, and ends with 1 after a mistake. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    if (error.message) console.error(error.message);
    process.exitCode = 1;
  }
}
