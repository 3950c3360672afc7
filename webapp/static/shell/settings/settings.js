// The settings: choices of this browser, and what the server keeps about its user.

import { h } from "../../base/dom.js";
import { onPreferences, preferences, setPreferences } from "../../base/preferences.js";
import { t } from "../../base/strings.js";
import { createSheet, openSheet } from "../sheet.js";
import { createMemories } from "./memories.js";
import { createProfile } from "./profile.js";

/** @param {import("../../client.js").Millrace} millrace */
export function showSettings(millrace) {
  if (document.querySelector("dialog.settings[open]")) return;
  openSheet(
    createSheet("settings", t.settings, createAppearance(), createAnswers(millrace), createProfile(millrace), createMemories(millrace)),
  );
}

/** Apply the chosen theme now and after each change; `theme.js` has done so before the first paint. */
export function applyTheme() {
  onPreferences(({ theme }) => {
    const { dataset } = document.documentElement;
    if (theme === "auto") delete dataset.theme;
    else dataset.theme = theme;
  });
}

function createAppearance() {
  return group(
    "appearance",
    t.appearance,
    select("theme", t.theme, { auto: t.themeAuto, light: t.themeLight, dark: t.themeDark }, preferences().theme, (theme) =>
      setPreferences({ theme }),
    ),
    toggle("wrap", t.wrapCode, preferences().wrap, (wrap) => setPreferences({ wrap })),
  );
}

/** @param {import("../../client.js").Millrace} millrace */
function createAnswers(millrace) {
  const { streaming, model } = preferences();
  const models = select("model", t.defaultModel, { "": t.modelOfServer, ...(model && { [model]: model }) }, model ?? "", (name) =>
    setPreferences({ model: name || null }),
  );
  addModels(millrace, models.querySelector("select"));
  return group(
    "answers",
    t.answers,
    models,
    select(
      "streaming",
      t.streaming,
      { auto: t.streamingAuto, on: t.streamingOn, off: t.streamingOff },
      streaming,
      (value) => setPreferences({ streaming: value }),
      t.streamingHint,
    ),
    createNotifications(),
  );
}

/**
 * @param {import("../../client.js").Millrace} millrace
 * @param {HTMLSelectElement} input
 */
async function addModels(millrace, input) {
  try {
    const { models } = await millrace.call("api/models");
    const known = new Set(Array.from(input.options, ({ value }) => value));
    for (const { name } of models) if (!known.has(name)) input.add(h("option", { value: name }, name));
    // A model that the server does not offer any more would make it refuse each question.
    if (input.value && !models.some((/** @type {{name: string}} */ { name }) => name === input.value)) {
      input.selectedOptions[0].remove();
      input.value = "";
      setPreferences({ model: null });
    }
  } catch {
    // the choice stays as it was
  }
}

function createNotifications() {
  const isPossible = "Notification" in window;
  const hint = h("small", { className: "field-hint" });
  const showHint = () =>
    (hint.textContent = !isPossible ? t.notificationsImpossible : Notification.permission === "denied" ? t.notificationsDenied : t.notificationsHint);
  const isOn = () => isPossible && Notification.permission === "granted" && preferences().notifications;
  // The browser asks for the permission only after a click: here is one.
  const field = toggle("notifications", t.notifications, isOn(), async (isWanted, input) => {
    const isAllowed = isWanted && (await Notification.requestPermission()) === "granted";
    setPreferences({ notifications: isAllowed });
    input.checked = isOn();
    showHint();
  });
  field.querySelector("input").disabled = !isPossible;
  field.append(hint);
  showHint();
  return field;
}

/**
 * @param {string} name
 * @param {string} legend
 * @param {...Node} fields
 */
function group(name, legend, ...fields) {
  return h("fieldset", { className: "fields", dataset: { section: name } }, h("legend", {}, legend), ...fields);
}

/**
 * @param {string} name
 * @param {string} label
 * @param {Record<string, string>} options - their texts by value
 * @param {string} value
 * @param {(value: any) => void} onChange
 * @param {string} [hint]
 */
function select(name, label, options, value, onChange, hint) {
  const choices = Object.entries(options).map(([each, text]) => h("option", { value: each, selected: each === value }, text));
  const input = h("select", { name, on: { change: () => onChange(input.value) } }, ...choices);
  return h("label", { className: "field" }, h("span", { className: "field-name" }, label), input, hint ? h("small", { className: "field-hint" }, hint) : null);
}

/**
 * @param {string} name
 * @param {string} label
 * @param {boolean} isOn
 * @param {(isOn: boolean, input: HTMLInputElement) => void} onChange
 */
function toggle(name, label, isOn, onChange) {
  const input = h("input", { type: "checkbox", role: "switch", name, checked: isOn, on: { change: () => onChange(input.checked, input) } });
  return h("label", { className: "switch" }, h("span", { className: "field-name" }, label), input);
}
