// Slider of time with a button that plays it.

import {el} from "../dom.js";
import {currentLanguage, t} from "../text.js";

const SECONDS_PER_YEAR = 3;

// Returns the time of a state in words.
export function timeText(data, index) {
  if (index === data.times.length - 1) return t("year.end", {years: data.years});
  const day = new Date(`${data.times[index]}T00:00:00Z`);
  const first = new Date(`${data.times[0]}T00:00:00Z`);
  const months = (day.getUTCFullYear() - first.getUTCFullYear()) * 12 + day.getUTCMonth() - first.getUTCMonth();
  const month = new Intl.DateTimeFormat(currentLanguage(), {month: "long", timeZone: "UTC"}).format(day);
  return t("year", {year: Math.floor(months / 12) + 1, month});
}

// Returns {element, update(), frame(dt), toggle(), step(count), replay()}.
export function timeline(app) {
  const {data, settings} = app;
  const last = data.times.length - 1;
  const perSecond = last / Math.max(data.years * SECONDS_PER_YEAR, 6);
  let playing = false;
  let position = settings.time;

  const go = (index) => {
    position = Math.min(Math.max(index, 0), last);
    app.set("time", Math.round(position));
  };
  const step = (count) => {
    pause();
    go(settings.time + count);
  };
  const pause = () => {
    playing = false;
    label();
  };
  const toggle = () => {
    playing = !playing;
    if (playing && settings.time === last) go(0);
    label();
  };

  const button = (name, sign, press) => el("button", {
    type: "button", class: `step ${name}`, "aria-label": t(name), text: sign, on: {click: press},
  });
  const earlier = button("earlier", "−", () => step(-3));
  const later = button("later", "+", () => step(3));
  const play = button("play", "▶", toggle);
  const slider = el("input", {
    type: "range", min: 0, max: last, value: settings.time, "aria-label": t("time"),
    on: {
      input: () => {
        pause();
        go(Number(slider.value));
      },
      step: () => step(3),
    },
  });
  const when = el("output", {class: "when"});
  const label = () => {
    play.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", t(playing ? "pause" : "play"));
  };
  const update = () => {
    const text = timeText(data, settings.time);
    slider.value = settings.time;
    slider.setAttribute("aria-valuetext", text);
    when.textContent = text;
    if (Math.round(position) !== settings.time) position = settings.time;
  };
  const frame = (dt) => {
    if (!playing) return;
    go(position + dt * perSecond);
    if (position >= last) pause();
  };
  label();
  update();
  const element = el("div", {class: "timeline"}, play, earlier, slider, later, when);
  // Plays from the start; at rest if motion is reduced.
  const replay = () => {
    playing = !settings.reducedMotion;
    go(settings.reducedMotion ? last : 0);
    label();
  };
  return {element, update, frame, toggle, step, replay};
}
