// A dialog that reviews photos one by one: large picture, predictions, keys, and the corrections as a file.
"use strict";
// photos: all of the page, as review.js describes, each with picture (data URL or "") and link (address of the file, or
// ""), maybe details [[name, value]]; a candidate may have rank, shown beside its name. store: of bioclipReview.createStore. names: [{label, lineage,
// common}] to suggest. percent: formats a score. file: name of the download. onClose: called with the last photo's key.
// Returns {open(key, some)}: reviews some photos (default: all), from one of them or the first without a decision.
const bioclipReviewPanel = ({ photos, store, names, lang, percent, file, onClose }) => {
  const SHOWN_BY_BROWSERS = /\.(jpe?g|png|webp|gif|bmp|avif)$/i;
  const { make, nameElement } = bioclipReviewNames;
  const { fill, language, ...texts } = bioclipReviewTexts(lang);
  const search = bioclipReview.createSearch(names);
  for (const { key } of photos) {
    if (store.get(key)) search.add(store.get(key));
  }
  let shown = photos, queue = [], current = 0;

  const text = make("span");
  const progress = make("progress", { "aria-label": texts.title });
  const orders = ["lowest", "random", "given", "highest"].map((value) => make("option", { value }, texts[value]));
  const order = make("select", {}, ...orders);
  const skip = make("input", { type: "checkbox" });
  skip.checked = true;
  const close = button("review-close", texts.close, () => dialog.close());
  const image = make("img", { alt: "" });
  const frame = make("div", { class: "review-box" });
  const missing = make("p", { class: "review-missing" }, texts.no_picture);
  const heading = make("h2", { id: "review-photo", tabindex: "-1" });
  const caption = make("figcaption");
  const decision = make("p", { class: "review-decision" });
  const candidates = make("ol", { class: "review-candidates", "aria-label": texts.candidates });
  const reject = button("review-reject", texts.reject, () => decide(null), "n");
  const field = bioclipReviewNames.createField({
    search, label: texts.type, suggestions: texts.suggestions, choose: decide, leave: () => heading.focus(),
  });
  const previous = button("", texts.previous, () => move(-1), "k");
  const undo = button("", texts.undo, takeBack, "u");
  const next = button("", texts.next, () => move(1), "j");
  const help = button("", texts.keys, () => keys.showModal(), "?");
  const note = make("p", { class: "review-note" });
  const status = make("p", { class: "review-status", role: "status" });
  const save = button("", texts.download, download);
  const chooser = make("input", { type: "file", accept: ".csv,text/csv", hidden: "", "aria-label": texts.load });
  const load = button("", texts.load, () => chooser.click());
  const keys = keysDialog();
  const dialog = make("dialog", { class: "review", lang: language, "aria-labelledby": "review-photo" },
    make("div", { class: "review-top" },
      make("div", { class: "review-progress" }, text, progress),
      make("label", {}, `${texts.order} `, order), make("label", {}, skip, ` ${texts.skip}`), close),
    make("div", { class: "review-body" },
      make("figure", { class: "review-picture" },
        make("div", { class: "review-stage" }, image, frame, missing), caption),
      make("div", { class: "review-side" }, heading, decision, candidates, reject,
        field.element, make("div", { class: "review-moves" }, previous, undo, next, help))),
    make("div", { class: "review-foot" }, make("div", { class: "review-said" }, status, note),
      make("div", { class: "review-files" }, save, load, chooser)),
    keys);

  order.addEventListener("change", () => rebuild());
  chooser.addEventListener("change", merge);
  dialog.addEventListener("keydown", pressed);
  dialog.addEventListener("close", () => onClose?.(queue[current]?.key));
  addEventListener("beforeunload", (event) => {
    if (store.atRisk) event.preventDefault();
  });
  store.onChange(() => {
    if (dialog.open) draw();
  });

  return {
    open(key, some = photos) {
      shown = some;
      progress.max = shown.length;
      if (!dialog.isConnected) document.body.append(dialog);
      status.textContent = "";
      if (!dialog.open) dialog.showModal();
      rebuild(key);
    },
  };

  function rebuild(key) {
    const score = ({ candidates: [best] }) => best?.score ?? 0;
    const by = {
      lowest: (a, b) => score(a) - score(b), highest: (a, b) => score(b) - score(a),
      random: (a, b) => bioclipReview.shuffled(a.filepath) - bioclipReview.shuffled(b.filepath),
    }[order.value];
    queue = by ? [...shown].sort(by) : shown;
    current = key === undefined ? after(-1) : queue.findIndex((photo) => photo.key === key);
    if (current < 0) current = 0;
    show();
  }

  // Index of the first photo after `index`, then from the beginning, that has no decision; -1 if all have one.
  function after(index) {
    const undecided = (photo) => !store.get(photo.key);
    const later = queue.findIndex((photo, at) => at > index && undecided(photo));
    return later < 0 ? queue.findIndex(undecided) : later;
  }

  function show() {
    const photo = queue[current];
    const usable = photo.link && SHOWN_BY_BROWSERS.test(photo.link);
    picture(photo.picture, !photo.picture || !photo.box ? null : undefined);
    missing.hidden = Boolean(photo.picture);
    if (usable) {
      // The thumbnail stays until the file has loaded, or for good if it has moved.
      const large = make("img", { src: photo.link });
      large.decode().then(() => {
        if (queue[current] !== photo) return;
        missing.hidden = true;
        picture(photo.link, photo.box);
      }, () => {});
    }
    const ahead = queue[after(current)];
    if (ahead?.link && SHOWN_BY_BROWSERS.test(ahead.link)) make("img", { src: ahead.link });
    const details = (photo.details ?? []).map(([name, value]) => `${name}: ${value}`);
    caption.textContent = [photo.filepath, ...details].join(" · ");
    field.clear();
    draw();
    heading.focus({ preventScroll: true });
    dialog.scrollTop = 0;
  }

  function picture(source, box) {
    image.hidden = !source;
    if (source) image.src = source;
    frame.replaceChildren();
    if (!box) return;
    // An SVG of the image's shape fits its frame as the image does.
    const { naturalWidth: width, naturalHeight: height } = image;
    const draw = () => {
      const [x, y, w, h] = box;
      const size = [image.naturalWidth || width, image.naturalHeight || height];
      frame.replaceChildren(svg("svg", { viewBox: `0 0 ${size.join(" ")}` },
        svg("rect", { x: x * size[0], y: y * size[1], width: w * size[0], height: h * size[1] })));
    };
    if (image.complete) draw();
    else image.addEventListener("load", draw, { once: true });
  }

  function draw() {
    const photo = queue[current], made = store.get(photo.key);
    const done = reviewed();
    text.textContent = fill("progress", { done, total: shown.length });
    progress.value = done;
    const name = photo.filepath.split("/").pop();
    heading.replaceChildren(fill("photo", { n: current + 1, total: queue.length }), make("small", {}, ` ${name}`));
    decision.textContent = made ? fill(made.status, { name: made.label }) : texts.open;
    decision.dataset.status = made?.status ?? "";
    candidates.replaceChildren(...photo.candidates.slice(0, 9).map((candidate, index) => {
      const pressed = made?.status !== "rejected" && made?.label === candidate.label;
      const fillOfBar = make("i");
      fillOfBar.style.width = `${Math.max(1, 100 * candidate.score)}%`;
      const item = make("button", { type: "button", "aria-pressed": String(pressed) },
        make("kbd", { "aria-hidden": "true" }, index ? String(index + 1) : "⏎"), nameElement(candidate), " ",
        make("span", { class: "review-percent" }, percent(candidate.score)),
        make("i", { class: "review-meter" }, fillOfBar));
      item.addEventListener("click", () => decide(candidate));
      return make("li", {}, item);
    }));
    reject.setAttribute("aria-pressed", String(made?.status === "rejected"));
    undo.disabled = !store.canUndo;
    previous.disabled = current === 0;
    next.disabled = queue.length < 2;
    save.disabled = store.size === 0;
    note.textContent = store.saved ? texts.kept : texts.lost;
    note.classList.toggle("review-lost", !store.saved);
  }

  function reviewed() { return shown.reduce((count, { key }) => count + (store.get(key) ? 1 : 0), 0); }

  function decide(choice) {
    const photo = queue[current];
    const made = store.decide(photo, choice);
    if (choice) search.add(choice);
    const done = reviewed();
    const said = [fill(made, { name: choice?.label }), fill("progress", { done, total: shown.length })];
    const at = skip.checked ? after(current) : Math.min(current + 1, queue.length - 1);
    if (at >= 0) current = at;
    show();
    if (done === shown.length) {
      said[1] = fill("all", { total: shown.length });
      save.focus();
    } else {
      const best = queue[current].candidates[0];
      if (best) said.push(fill("next_is", { name: best.common || best.label, value: percent(best.score) }));
    }
    status.textContent = said.map((part) => part.replace(/([^.!?])$/, "$1.")).join(" ");
  }

  function takeBack() {
    const key = store.undo();
    status.textContent = key === null ? texts.nothing : texts.undone;
    const at = queue.findIndex((photo) => photo.key === key);
    if (at >= 0) current = at;
    show();
  }

  function move(step) {
    let at = current + step;
    if (step > 0 && skip.checked) at = after(current);
    if (at < 0 || at >= queue.length) return;
    current = at;
    status.textContent = "";
    show();
  }

  function pressed(event) {
    if (keys.open) return;
    const wanted = bioclipReview.action(event);
    if (!wanted || wanted.name === "close") return;
    event.preventDefault();
    const choices = queue[current].candidates.slice(0, 9);
    const act = {
      confirm: () => choices.length && decide(choices[0]),
      choose: () => wanted.index < choices.length && decide(choices[wanted.index]),
      reject: () => decide(null), type: field.focus, undo: takeBack, next: () => move(1), previous: () => move(-1),
      help: () => keys.showModal(),
    };
    act[wanted.name]();
  }

  function download() {
    bioclipReview.download(file, store.csv(photos));
    store.markDownloaded();
  }

  async function merge() {
    const [chosen] = chooser.files;
    chooser.value = "";
    if (!chosen) return;
    try {
      status.textContent = fill("loaded", store.merge(await chosen.text(), photos));
      for (const { key } of photos) if (store.get(key)) search.add(store.get(key));
    } catch {
      status.textContent = fill("refused", { name: chosen.name });
    }
  }

  function keysDialog() {
    const rows = [
      ["Enter, y", "confirm"], ["1 – 9", "choose"], ["e, /", "type"], ["n, 0", "reject"], ["u", "undo"],
      ["j, →", "next"], ["k, ←", "previous"], ["?", "help"], ["Esc", "close"],
    ].map(([key, name]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, texts[`key_${name}`])));
    const made = make("dialog", { class: "review-keys", "aria-label": texts.keys },
      make("table", {}, make("caption", {}, texts.keys), make("tbody", {}, ...rows)),
      button("", texts.key_close, () => made.close()));
    made.addEventListener("close", () => heading.focus());
    return made;
  }

  function button(kind, label, act, key) {
    const hint = key ? [make("kbd", { "aria-hidden": "true" }, key), " "] : [];
    const made = make("button", { type: "button", class: kind }, ...hint, label);
    made.addEventListener("click", act);
    return made;
  }

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
};
