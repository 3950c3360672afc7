// The receipt of an answer: which model gave it, how long it took, and what was paid for.

import { h } from "../base/dom.js";
import { t } from "../base/strings.js";

/** @import { PaidCall, Usage } from "../client.js" */

/**
 * Return whether an outcome has anything for a receipt.
 *
 * @param {any} outcome - see `Complete`, `Cancelled` and `Error` in events.d.ts
 */
export function hasReceipt(outcome) {
  return Boolean(outcome?.usage || outcome?.usage_by?.length || outcome?.model);
}

/**
 * Fill a panel with a receipt.
 *
 * @param {HTMLElement} panel
 * @param {any} outcome
 */
export function showReceipt(panel, outcome) {
  const rows = rowsOf(outcome).filter(([, value]) => value !== null);
  const list = rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  const calls = outcome.usage_by ?? [];
  panel.replaceChildren(h("dl", { className: "receipt-list" }, ...list), ...(calls.length > 0 ? [tableOf(calls)] : []));
}

/**
 * @param {any} outcome
 * @returns {[string, string | null][]}
 */
function rowsOf(outcome) {
  const { usage, latency, model, provider, requested_model: requested } = outcome;
  const total = outcome.usage_total ?? sumOf(outcome.usage_by) ?? usage;
  const isLowerBound = outcome.type === "cancelled" || usage?.exact === false;
  const atLeast = (/** @type {string} */ text) => (isLowerBound ? t.atLeast(text) : text);
  return [
    [t.receiptModel, model ?? null],
    [t.receiptRequested, requested && requested !== model ? requested : null],
    [t.receiptProvider, provider ?? null],
    [t.receiptFirstText, latency?.first_delta_ms != null ? t.seconds(latency.first_delta_ms / 1000) : null],
    [t.receiptTotal, latency ? t.seconds(latency.total_ms / 1000) : null],
    [t.receiptInput, usage ? atLeast(inputOf(usage)) : null],
    [t.receiptOutput, usage ? atLeast(outputOf(usage)) : null],
    [t.receiptCost, total?.cost !== undefined ? atLeast(t.dollars(total.cost)) : null],
  ];
}

/** @param {Usage} usage */
function inputOf({ input_tokens: tokens, cache_read_tokens: cached, cache_write_tokens: written }) {
  return [t.tokens(tokens), cached ? t.cachedTokens(cached) : null, written ? t.cacheWrittenTokens(written) : null].filter(Boolean).join(", ");
}

/** @param {Usage} usage */
function outputOf({ output_tokens: tokens, reasoning_tokens: reasoning }) {
  return [t.tokens(tokens), reasoning ? t.reasoningTokens(reasoning) : null].filter(Boolean).join(", ");
}

/**
 * Return the cost of all calls, if it is known of each.
 *
 * @param {PaidCall[] | undefined} calls
 */
function sumOf(calls) {
  if (!calls?.length || calls.some(({ cost }) => cost === undefined)) return undefined;
  return { cost: calls.reduce((sum, { cost }) => sum + cost, 0) };
}

/** @param {PaidCall[]} calls */
function tableOf(calls) {
  const head = [t.callPurpose, t.receiptModel, t.callInput, t.callOutput, t.receiptCost];
  const body = calls.map((call) => {
    const purpose = t.purposes[call.purpose] ?? call.purpose;
    const input = call.input_tokens + call.cache_read_tokens + call.cache_write_tokens;
    const cells = [call.model, t.number(input), t.number(call.output_tokens), call.cost === undefined ? "–" : t.dollars(call.cost)];
    return h("tr", {}, h("th", { scope: "row" }, purpose), ...cells.map((each) => h("td", {}, each)));
  });
  return h(
    "table",
    { className: "receipt-calls" },
    h("caption", {}, t.allCalls),
    h("thead", {}, h("tr", {}, ...head.map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, ...body),
  );
}
