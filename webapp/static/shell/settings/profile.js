// The profile: what the assistant is called, and what its user wants it to know with each question.

import { h } from "../../base/dom.js";
import { t } from "../../base/strings.js";

const MAX_TEXT_CHARACTERS = 8000; // the server's limit for text and facts together
const MAX_NAME_CHARACTERS = 100;

/** @param {import("../../client.js").Millrace} millrace */
export function createProfile(millrace) {
  const name = h("input", { type: "text", name: "assistant_name", maxLength: MAX_NAME_CHARACTERS, autocomplete: "off", dir: "auto", disabled: true });
  const text = h("textarea", { name: "text", rows: 4, maxLength: MAX_TEXT_CHARACTERS, dir: "auto", disabled: true });
  const state = h("span", { className: "form-state", role: "status" });
  const save = h("button", { type: "submit", className: "primary save", disabled: true }, t.save);
  const form = h(
    "form",
    { className: "profile", autocomplete: "off" },
    field(t.assistantName, name, t.assistantNameHint),
    field(t.aboutYou, text, t.aboutYouHint),
    h("div", { className: "buttons" }, state, save),
  );
  let facts = {}; // kept as they are: applications set them

  const show = (/** @type {"saved" | "failed" | null} */ outcome, message = "") => {
    if (outcome === null) delete state.dataset.state;
    else state.dataset.state = outcome;
    state.textContent = message;
  };
  const enable = (/** @type {boolean} */ isEnabled) => {
    for (const each of [name, text, save]) each.disabled = !isEnabled;
  };
  const load = async () => {
    try {
      const stored = await millrace.call("api/profile");
      name.value = stored.assistant_name ?? "";
      text.value = stored.text;
      facts = stored.facts;
      enable(true);
    } catch (/** @type {any} */ error) {
      show("failed", error.message);
    }
  };
  form.addEventListener("input", () => show(null));
  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    save.disabled = true;
    try {
      const body = { assistant_name: name.value.trim() || null, text: text.value, facts };
      await millrace.call("api/profile", { method: "PUT", body });
      show("saved", t.saved);
    } catch (/** @type {any} */ error) {
      show("failed", error.message);
    }
    save.disabled = false;
  });
  load();
  return h("fieldset", { className: "fields", dataset: { section: "profile" } }, h("legend", {}, t.profile), form);
}

/**
 * @param {string} label
 * @param {Node} input
 * @param {string} hint
 */
function field(label, input, hint) {
  return h("label", { className: "field" }, h("span", { className: "field-name" }, label), input, h("small", { className: "field-hint" }, hint));
}
