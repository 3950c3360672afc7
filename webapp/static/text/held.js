// The part of a growing source that can be shown: a last line that may yet become another block is held back.

const MAX_HELD = 200; // characters; a line that is longer is shown as what it is now
// Marks of lists, headings, rules, tasks, fences, math and delimiter rows, perhaps inside a list or quote.
const UNDECIDED = /^(?:[\s>]|[-+*]\s|\d{1,9}[.)]\s)*(?:\d{1,9}[.)]?|[-+*_=`~|:#\s[\]xX$\\]*)$/;
const FORMULA = /^[\s>]*(?:\$\$.*\$\$|\\\[.*\\\])\s*$/; // a block, unless more text follows on its line
const FENCE = /^[\s>]*(?:(?:[-+*]|\d{1,9}[.)])\s+)*(?:`{3,}[^`]*|~{3,}.*)$/;

/**
 * Return how much of a source that may go on can be read as it is.
 *
 * @param {string} source
 * @returns {number}
 */
export function readableLength(source) {
  const start = source.lastIndexOf("\n") + 1;
  if (source.length - start > MAX_HELD) return source.length;
  const line = source.slice(start);
  return UNDECIDED.test(line) || FENCE.test(line) || FORMULA.test(line) ? start : source.length;
}
