// The interface's languages. English texts are the keys; another language is a table from them.
// Names that belong to AMQP stay as they are.

import { chinese } from "./chinese.js";

const TABLES = { en: {}, zh: chinese };
export const LANGUAGES = { en: "English", zh: "中文" };

let current = chosen();

function chosen() {
  const kept = localStorage.getItem("language");
  if (kept in TABLES) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language = () => current;

export function setLanguage(code) {
  current = code;
  localStorage.setItem("language", code);
  document.documentElement.lang = code;
}

document.documentElement.lang = current;

/** The text in the language chosen, with `{name}` replaced by `values.name`. */
export function t(text, values = {}) {
  const found = TABLES[current][text] ?? text;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}
