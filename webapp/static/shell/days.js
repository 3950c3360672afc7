// Groups conversations by the day of their last change, as a person would say it.

import { t } from "../base/strings.js";

const DAY_MS = 86_400_000;

/**
 * Return groups in the order of the items, which is the last changed first.
 *
 * @template {{updated_at: string}} Item
 * @param {Item[]} items
 * @param {Date} [now]
 * @returns {{name: string, items: Item[]}[]}
 */
export function groupByDay(items, now = new Date()) {
  /** @type {Map<string, Item[]>} */
  const groups = new Map();
  for (const item of items) {
    const name = nameOfDay(new Date(item.updated_at), now);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return [...groups].map(([name, items]) => ({ name, items }));
}

/**
 * @param {Date} day
 * @param {Date} now
 */
function nameOfDay(day, now) {
  const days = Math.round((startOfDay(now) - startOfDay(day)) / DAY_MS); // rounded: some days have 23 or 25 hours
  if (days <= 0) return t.today;
  if (days === 1) return t.yesterday;
  if (days <= 7) return t.previousDays(7);
  if (days <= 30) return t.previousDays(30);
  return day.toLocaleDateString(document.documentElement.lang || undefined, { month: "long", year: "numeric" });
}

/** @param {Date} date */
function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
