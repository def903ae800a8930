// Texts of the page in its languages.

import {eyesText} from "./text/eyes.js";
import {mapText} from "./text/map.js";
import {shellText} from "./text/shell.js";
import {spiderText} from "./text/spider.js";
import {speciesNames} from "./text/species.js";
import {webText} from "./text/web.js";
import {worldText} from "./text/world.js";

export const LANGUAGES = ["en", "fr"];
// Each part of the page adds its texts: {en: {key: text}, fr: {key: text}}.
const TEXTS = [shellText, eyesText, spiderText, mapText, webText, worldText];
const merged = Object.fromEntries(
  LANGUAGES.map((code) => [code, Object.assign({}, ...TEXTS.map((one) => one[code]))]));
let language = "en";

// Sets the language of all texts from now on.
export function setLanguage(code) {
  language = code;
  document.documentElement.lang = code;
}

export function currentLanguage() {
  return language;
}

// Adds the texts of a part that not every page has.
export function addTexts(texts) {
  for (const code of LANGUAGES) Object.assign(merged[code], texts[code]);
}

// Returns a text; {name} in it is replaced by the value of that name.
export function t(key, values = {}) {
  const text = merged[language][key] ?? merged.en[key] ?? key;
  const filled = text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  // No line begins with a sign or a unit that belongs to what is before it.
  return filled.replace(/ ([;:?!%»])/g, "\u00a0$1").replace(/(\d) (k?m|s)(?![\p{L}])/gu, "$1\u00a0$2").replace(/« /g, "«\u00a0");
}

// Returns true for a key that has a text.
export function hasText(key) {
  return key in merged.en;
}

// By language and digits, since making one takes longer than a hundred uses.
const formats = new Map();

// Returns a number with at most so many digits that count, as it is written in the language.
export function number(value, digits = 3) {
  const key = `${language} ${digits}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language, {maximumSignificantDigits: digits}));
  return formats.get(key).format(value);
}

// Returns the everyday name of a species, or its scientific name.
export function speciesName(species) {
  const names = speciesNames[language];
  const known = Object.hasOwn(names, species.name) ? names[species.name] : "";
  return known || (language === "en" && species.common) || species.name;
}

// Returns a text that begins with a capital letter.
export function capital(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : text;
}
