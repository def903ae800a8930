// Image by image: a card each, filtered and sorted here, some dozens at a time.
"use strict";
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const { ranks, names, cards } = JSON.parse(source.textContent);
  const AT_ONCE = 48, OPEN_ANSWERS = 5;
  const find = (id) => document.getElementById(id);
  const [list, told, more, filter, least, order] = ["cards", "told", "more", "filter", "least", "order"].map(find);
  const searched = cards.map(([file, answers]) => words([file, ...names[answers[0][0]].flat()].join(" ")));
  let chosen = [], drawn = 0, waiting = 0;

  find("controls").hidden = false;
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", soon);
  least.addEventListener("input", soon);
  order.addEventListener("change", choose);
  more.addEventListener("click", () => {
    const first = drawn;
    draw();
    list.children[first].focus();
  });
  // A browser that goes back to the page has kept what was typed.
  addEventListener("pageshow", choose);
  choose();

  function soon() {
    find("least-told").textContent = `${least.value}\u00a0%`;
    clearTimeout(waiting);
    waiting = setTimeout(choose, 120);
  }

  function choose() {
    find("least-told").textContent = `${least.value}\u00a0%`;
    const parts = words(filter.value).split(/\s+/).filter(Boolean);
    chosen = cards.map((_, place) => place).filter((place) =>
      score(place) >= least.value / 100 && parts.every((part) => searched[place].includes(part)));
    const by = {
      sure: (a, b) => score(b) - score(a),
      unsure: (a, b) => score(a) - score(b),
      name: (a, b) => compare(title(best(a)), title(best(b))) || score(b) - score(a),
      file: (a, b) => compare(cards[a][0], cards[b][0]),
    }[order.value];
    if (by) chosen.sort(by);
    list.replaceChildren();
    drawn = 0;
    told.textContent = chosen.length === cards.length ? "" :
      `${count(chosen.length)} of ${count(cards.length)} ${cards.length === 1 ? "image" : "images"}`;
    draw();
  }

  function draw() {
    list.append(...chosen.slice(drawn, drawn + AT_ONCE).map(card));
    drawn = Math.min(chosen.length, drawn + AT_ONCE);
    more.hidden = drawn === chosen.length;
    more.textContent = `Show more (${count(chosen.length - drawn)} left)`;
  }

  function card(place) {
    const [file, answers, picture] = cards[place];
    const item = make("li", "card");
    item.tabIndex = -1;
    const frame = make("div", "frame");
    if (picture) {
      const image = make("img");
      image.src = picture;
      image.alt = "";
      image.loading = "lazy";
      frame.append(image);
    }
    const body = make("div", "body");
    const [first, ...others] = answers.slice(0, OPEN_ANSWERS).map(([name, sure]) => answer(names[name], sure));
    first.classList.add("first");
    body.append(first);
    const lineage = above(best(place));
    if (lineage) body.append(make("p", "lineage", lineage));
    if (others.length) {
      const rest = make("div", "others");
      rest.append(...others);
      body.append(rest);
    }
    if (answers.length > OPEN_ANSWERS) {
      const rest = make("details");
      rest.append(make("summary", "", `${count(answers.length - OPEN_ANSWERS)} more`));
      rest.append(...answers.slice(OPEN_ANSWERS).map(([name, sure]) => answer(names[name], sure)));
      body.append(rest);
    }
    const path = make("p", "file", file.split("/").pop());
    path.title = file;
    body.append(path);
    item.append(frame, body);
    return item;
  }

  function answer(name, sure) {
    const box = make("div", "answer");
    const words = make("div", "words");
    const [lineage, common] = name;
    const latin = ranks.length && lineage.length >= 6;
    const known = make(latin ? "em" : "span", lineage.length ? "name" : "name muted", title(name));
    const both = make("span", "names");
    if (common) both.append(make("b", "common", common), " ");
    both.append(known);
    if (ranks.length && lineage.length && lineage.length < ranks.length) {
      both.append(" ", make("span", "rank", ranks[lineage.length - 1]));
    }
    words.append(both, make("span", "percent", percent(sure)));
    const bar = make("div", `meter ${sure >= 0.8 ? "sure" : sure >= 0.5 ? "fair" : "unsure"}`);
    const fill = make("i");
    fill.style.width = `${Math.max(1, 100 * sure)}%`;
    bar.append(fill);
    box.append(words, bar);
    return box;
  }

  function best(place) { return names[cards[place][1][0][0]]; }

  function score(place) { return cards[place][1][0][1]; }

  function title([lineage]) {
    for (let depth = lineage.length; depth--;) if (lineage[depth]) return lineage[depth];
    return "unknown";
  }

  // The genus is in a species' name already.
  function above([lineage]) { return lineage.slice(0, Math.min(5, lineage.length - 1)).filter(Boolean).join(" › "); }

  function percent(value) {
    if (value > 0 && value < 0.001) return "< 0.1 %";
    if (value > 0.999 && value < 1) return "> 99.9 %";
    return `${(100 * value).toFixed(1)} %`;
  }

  function words(value) { return value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase(); }

  function compare(a, b) { return a.localeCompare(b, "en", { numeric: true }); }

  function count(value) { return value.toLocaleString("en-US"); }

  function make(tag, kind, content) {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (content !== undefined) element.textContent = content;
    return element;
  }
})();
