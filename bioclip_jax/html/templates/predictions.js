// A card for each image, filtered and sorted in the browser and drawn some dozens at a time.
"use strict";
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const { id, ranks, names, cards } = JSON.parse(source.textContent);
  const AT_ONCE = 48, MOST_OPEN = 5;
  const byId = (id) => document.getElementById(id);
  const [list, status, more, filter, least, order, reviewed, review] =
    ["cards", "status", "more", "filter", "least", "order", "reviewed", "review"].map(byId);
  const searched = cards.map(([file, predictions, , extra]) => plain(
    [file, ...names[predictions[0][0]].flat(), ...(extra.details || []).map((pair) => pair[1])].join(" ")));
  const store = bioclipReview.createStore(id);
  const texts = bioclipReviewTexts(document.documentElement.lang);
  const candidates = names.map(candidate);
  const photos = cards.map(photo);
  let chosen = [], drawn = 0, timer = 0, panel = null;

  byId("controls").hidden = false;
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", chooseSoon);
  least.addEventListener("input", chooseSoon);
  order.addEventListener("change", choose);
  reviewed.addEventListener("change", choose);
  review.hidden = false;
  review.textContent = texts.start;
  review.addEventListener("click", () => openReview());
  more.addEventListener("click", () => {
    const first = drawn;
    draw();
    list.children[first].focus();
  });
  // Browsers restore the controls on "back" without firing their events.
  addEventListener("pageshow", choose);
  choose();

  function chooseSoon() {
    byId("least-value").textContent = `${least.value}\u00a0%`;
    clearTimeout(timer);
    timer = setTimeout(choose, 120);
  }

  function choose() {
    byId("least-value").textContent = `${least.value}\u00a0%`;
    const words = plain(filter.value).split(/\s+/).filter(Boolean);
    chosen = [...cards.keys()].filter((index) =>
      score(index) >= least.value / 100 && isShown(index) && words.every((word) => searched[index].includes(word)));
    const by = {
      highest: (a, b) => score(b) - score(a),
      lowest: (a, b) => score(a) - score(b),
      name: (a, b) => compare(title(best(a)), title(best(b))) || score(b) - score(a),
      file: (a, b) => compare(cards[a][0], cards[b][0]),
    }[order.value];
    if (by) chosen.sort(by);
    list.replaceChildren();
    drawn = 0;
    status.textContent = chosen.length === cards.length ? "" :
      `${count(chosen.length)} of ${count(cards.length)} ${status.dataset.thing}${cards.length === 1 ? "" : "s"}`;
    draw();
  }

  function draw() {
    list.append(...chosen.slice(drawn, drawn + AT_ONCE).map(card));
    drawn = Math.min(chosen.length, drawn + AT_ONCE);
    more.hidden = drawn === chosen.length;
    more.textContent = `Show more (${count(chosen.length - drawn)} left)`;
  }

  // The photo as review.js describes it.
  function photo([filepath, predictions, picture, extra], index) {
    const { link = "", box = null, event = "", details = [] } = extra;
    const scored = predictions.map(([name, score]) => ({ ...candidates[name], score }));
    // "unknown" is no name to confirm.
    const named = scored.filter(({ label }) => label);
    return { key: `${index}`, filepath, event, box, picture, link, details, candidates: named };
  }

  function candidate([lineage, common]) {
    const rank = ranks.length && lineage.length < ranks.length ? ranks[lineage.length - 1] : "";
    return { label: lineage.length ? title([lineage]) : "", lineage: ranks.length ? lineage : [], common, rank };
  }

  // Reviews the images that the controls choose, from one of them or from the first that is not reviewed.
  function openReview(index) {
    const page = decodeURIComponent(location.pathname).split("/").pop().replace(/\.html?$/i, "");
    panel ??= bioclipReviewPanel({
      photos, store, names: candidates, lang: texts.language, percent, file: `${page || "report"}-corrections.csv`,
      onClose: (key) => {
        choose();
        (list.querySelector(`[data-key="${key}"] button`) ?? review).focus();
      },
    });
    const shown = chosen.length ? chosen.map((one) => photos[one]) : photos;
    panel.open(index === undefined ? undefined : photos[index].key, shown);
  }

  function isShown(index) {
    const status = store.get(photos[index].key)?.status;
    return reviewed.value === "all" || reviewed.value === (status ?? "open");
  }

  function card(index) {
    const [file, predictions, picture, extra] = cards[index];
    const item = make("li", "card");
    item.tabIndex = -1;
    item.dataset.key = photos[index].key;
    const frame = make("div", "frame");
    const open = make("button", "review-open");
    open.type = "button";
    open.setAttribute("aria-label", texts.fill("large", { name: file.split("/").pop() }));
    open.addEventListener("click", () => openReview(index));
    if (picture) {
      const image = make("img");
      image.src = picture;
      image.alt = "";
      image.loading = "lazy";
      open.append(image);
    }
    frame.append(open);
    const body = make("div", "body");
    const drawAll = (some) => some.map(([name, confidence]) => prediction(names[name], confidence));
    const [first, ...others] = drawAll(predictions.slice(0, MOST_OPEN));
    first.classList.add("first");
    body.append(first);
    const lineage = above(best(index));
    if (lineage) body.append(make("p", "lineage", lineage));
    if (others.length) {
      const rest = make("div", "others");
      rest.append(...others);
      body.append(rest);
    }
    if (predictions.length > MOST_OPEN) {
      const rest = make("details");
      rest.append(make("summary", "", `${count(predictions.length - MOST_OPEN)} more`));
      rest.append(...drawAll(predictions.slice(MOST_OPEN)));
      body.append(rest);
    }
    const path = make("p", "file", file.split("/").pop());
    path.title = file;
    body.append(path);
    if (extra.frames) body.append(eventFrames(extra.frames));
    if (extra.details) body.append(columns(extra.details));
    const made = store.get(photos[index].key);
    if (made) body.append(make("p", `reviewed ${made.status}`, texts.fill(made.status, { name: made.label })));
    item.append(frame, body);
    return item;
  }

  function eventFrames(frames) {
    const row = make("div", "event-frames");
    for (const [file, picture] of frames) {
      const image = make("img");
      image.src = picture;
      image.alt = image.title = file.split("/").pop();
      image.loading = "lazy";
      if (picture) row.append(image);
    }
    return row;
  }

  function columns(pairs) {
    const shown = pairs.length <= MOST_OPEN;
    const box = make(shown ? "div" : "details", "columns-of-image");
    if (!shown) box.append(make("summary", "", `${count(pairs.length)} columns`));
    const table = make("dl");
    for (const [name, value] of pairs) table.append(make("dt", "", name), make("dd", "", value));
    box.append(table);
    return box;
  }

  function prediction(name, confidence) {
    const box = make("div", "prediction");
    const words = make("div", "words");
    const [lineage, common] = name;
    const italic = ranks.length && lineage.length >= 6;
    const scientific = make(italic ? "em" : "span", lineage.length ? "name" : "name muted", title(name));
    const both = make("span", "names");
    if (common) both.append(make("b", "common", common), " ");
    both.append(scientific);
    if (ranks.length && lineage.length && lineage.length < ranks.length) {
      both.append(" ", make("span", "rank", ranks[lineage.length - 1]));
    }
    words.append(both, make("span", "percent", percent(confidence)));
    const bar = make("div", `meter ${confidence >= 0.8 ? "high" : confidence >= 0.5 ? "medium" : "low"}`);
    const fill = make("i");
    fill.style.width = `${Math.max(1, 100 * confidence)}%`;
    bar.append(fill);
    box.append(words, bar);
    return box;
  }

  function best(index) { return names[cards[index][1][0][0]]; }

  function score(index) { return cards[index][1][0][1]; }

  function title([lineage]) {
    for (let depth = lineage.length; depth--;) if (lineage[depth]) return lineage[depth];
    return "unknown";
  }

  // The lineage down to the family: a species' name has the genus already.
  function above([lineage]) { return lineage.slice(0, Math.min(5, lineage.length - 1)).filter(Boolean).join(" › "); }

  function percent(value) {
    if (value > 0 && value < 0.001) return "< 0.1 %";
    if (value > 0.999 && value < 1) return "> 99.9 %";
    return `${(100 * value).toFixed(1)} %`;
  }

  function plain(value) { return value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase(); }

  function compare(a, b) { return a.localeCompare(b, "en", { numeric: true }); }

  function count(value) { return value.toLocaleString("en-US"); }

  function make(tag, kind, content) {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (content !== undefined) element.textContent = content;
    return element;
  }
})();
