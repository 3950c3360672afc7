// The models that a question can be asked of, read once.

/**
 * Return a function that reads the names of the models, and returns those read before from then on.
 *
 * @param {import("../client.js").Millrace} millrace
 * @returns {() => Promise<string[]>} empty after a failure: then there is no choice, and the next call tries again
 */
export function modelReader(millrace) {
  /** @type {Promise<string[]> | null} */
  let reading = null;
  return () => {
    reading ??= millrace
      .call("api/models")
      .then(({ models }) => models.map((/** @type {{name: string}} */ { name }) => name))
      .catch(() => {
        reading = null;
        return [];
      });
    return reading;
  };
}
