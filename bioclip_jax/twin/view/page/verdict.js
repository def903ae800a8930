// Scenarios and their effects in words.

import {capital, currentLanguage, hasText, number, speciesName, t} from "./text.js";

const MULTIPLE = Math.log(3);
const VERDICTS = {
  "declines": "falls",
  "increases": "rises",
  "little change": "little",
  "the data cannot tell": "unknown",
};

// Returns the title of a branch; other languages than the author's describe its events.
export function branchTitle(data, branch) {
  if (branch === 0) return t("branch.baseline");
  const {title, events} = data.branches[branch];
  if (title && currentLanguage() === "en") return capital(title);
  const titles = events.map((event) => eventTitle(data, event));
  const described = titles.every(Boolean) ? titles.join(" + ") : "";
  return described || title || t("branch.number", {n: branch});
}

function eventTitle(data, event) {
  const {kind} = event;
  const [first, ...others] = event.species ?? [];
  const name = first === undefined || others.length ? "" : speciesName(data.species[first]);
  const less = event.factor < 1 ? "less" : "more";
  const keys = [
    name && `event.${kind}.species`,
    kind === "remove" && (event.share ?? 1) < 1 ? "" : `event.${kind}.${less}`,
    `event.${kind}`,
  ];
  if (kind === "remove" && (event.share ?? 1) < 1) return name ? t("event.thin.species", {name}) : "";
  const key = keys.find((one) => one && hasText(one));
  return key ? t(key, {name}) : "";
}

// Returns the kind of a verdict: falls, rises, little or unknown.
export function verdictOf(effect) {
  return VERDICTS[effect.verdict] ?? "unknown";
}

// Returns what a scenario does to a species, in words.
export function verdictText(data, branch, species) {
  const name = speciesName(data.species[species]);
  if (branch === 0) return t("verdict.baseline", {name});
  const effect = data.effects[branch][species];
  const [lower, , median, , upper] = effect.ratio.map((value) => value / 1000);
  const isGone = data.series.of(branch, species, 50, data.times.length - 1) === 0;
  const kind = isGone && upper < 0 ? "gone" : verdictOf(effect);
  return t(`verdict.${kind}`, {
    name,
    scenario: branchTitle(data, branch),
    change: changeText(median),
    interval: t("verdict.interval", {lower: signedText(lower), upper: signedText(upper)}),
    members: data.members,
  });
}

// Returns the size of a change as a percentage or, if it is large, a factor.
function changeText(ratio) {
  if (ratio > MULTIPLE) return t("change.times", {factor: number(Math.exp(ratio), 2)});
  return t("change.percent", {percent: number(Math.abs(Math.expm1(ratio)) * 100, 2)});
}

function signedText(ratio) {
  if (ratio > MULTIPLE) return t("change.times", {factor: number(Math.exp(ratio), 2)});
  const percent = Math.expm1(ratio) * 100;
  const text = number(Math.abs(percent), 2);
  return t("change.percent", {percent: text === "0" ? text : (percent < 0 ? "−" : "+") + text});
}
