// Corrections of predictions, without a page: store, CSV, keys, suggestions. The report and the web page share it.
//
// A photo is {key, filepath, event, box, candidates}: key unique in its page; event a text or ""; box [x, y, width,
// height] in shares of the image, or null; candidates [{label, lineage, common, score}], best first. A lineage is the
// names from the kingdom down, its seventh the binomial; [] for a label that is no taxon.
// A decision is {status, label, lineage, common, at}. predict/review/table.py reads and writes the same CSV.
"use strict";
const bioclipReview = (() => {
  const COLUMNS = [
    "filepath", "label", "kingdom", "phylum", "class", "order", "family", "genus", "species", "common_name", "status",
    "predicted", "score", "box_x", "box_y", "box_width", "box_height", "event", "reviewed_at",
  ];
  const RANKS = COLUMNS.slice(2, 9);
  const BOX = COLUMNS.slice(13, 17);
  const STATUSES = ["confirmed", "corrected", "rejected"];
  // Spreadsheets run a cell that begins so. A path gets "./" before it, which changes nothing, other texts a "'",
  // which reading removes.
  const FORMULA = /^[=+\-@\t\r]/, QUOTED_FORMULA = /^'+[=+\-@\t\r]/;

  // Corrections by photo, kept in `storage` under the page's id, an item for each photo: a page open twice loses none.
  // saved is false once storage fails: it is full, or the browser keeps none.
  function createStore(id, storage = localStorageOrNull()) {
    const prefix = `bioclip-jax review ${id} `;
    const decisions = new Map(), history = [], listeners = [];
    let saved = storage !== null, downloaded = 0, changes = 0;
    for (let index = 0; saved && index < storage.length; index++) {
      const name = storage.key(index);
      if (name.startsWith(prefix)) load(name.slice(prefix.length), storage.getItem(name));
    }
    if (typeof addEventListener === "function") {
      addEventListener("storage", (event) => {
        if (event.storageArea !== storage || !event.key?.startsWith(prefix)) return;
        const key = event.key.slice(prefix.length);
        load(key, event.newValue);
        announce(key);
      });
    }

    function load(key, text) {
      let decision = null;
      try {
        decision = JSON.parse(text);
      } catch { /* Another program's item. */ }
      if (decision && STATUSES.includes(decision.status)) decisions.set(key, decision);
      else decisions.delete(key);
    }

    function put(key, decision) {
      if (decision) decisions.set(key, decision);
      else decisions.delete(key);
      changes++;
      try {
        if (decision) storage?.setItem(prefix + key, JSON.stringify(decision));
        else storage?.removeItem(prefix + key);
      } catch {
        saved = false;
      }
    }

    function announce(key) { for (const listener of listeners) listener(key); }

    return {
      get: (key) => decisions.get(key),
      get saved() { return saved; },
      get size() { return decisions.size; },
      get canUndo() { return history.length > 0; },
      // True if decisions would be lost with the page.
      get atRisk() { return !saved && changes > downloaded; },
      onChange: (listener) => listeners.push(listener),
      // choice: {label, lineage, common}, or null for "none of these".
      decide(photo, choice, at = new Date().toISOString()) {
        const best = photo.candidates[0]?.label ?? "";
        const status = !choice ? "rejected" : choice.label === best ? "confirmed" : "corrected";
        const { label, lineage, common } = choice ?? { label: "", lineage: [], common: "" };
        history.push([photo.key, decisions.get(photo.key)]);
        put(photo.key, { status, label, lineage, common, at });
        announce(photo.key);
        return status;
      },
      // Takes back the last decision; returns its photo's key, or null.
      undo() {
        if (!history.length) return null;
        const [key, before] = history.pop();
        put(key, before);
        announce(key);
        return key;
      },
      counts() {
        const counts = { confirmed: 0, corrected: 0, rejected: 0 };
        for (const { status } of decisions.values()) counts[status]++;
        return counts;
      },
      // The CSV of the photos with a decision, in the order of `photos`.
      csv(photos) {
        const reviewed = photos.filter(({ key }) => decisions.has(key));
        return toCsv(reviewed.map((photo) => row(photo, decisions.get(photo.key))));
      },
      markDownloaded() { downloaded = changes; },
      // Adds a CSV's decisions, of each photo the last one. Returns {added, replaced, kept, unknown}: numbers of photos
      // new here, newer there, at least as new here, and not on this page. Throws Error for another table.
      merge(text, photos) {
        const byPhoto = new Map(photos.map((photo) => [identity(photo.filepath, photo.box), photo.key]));
        const counts = { added: 0, replaced: 0, kept: 0, unknown: 0 };
        const latest = new Map();
        for (const [photo, decision] of parseDecisions(text)) {
          if (!latest.has(photo) || decision.at >= latest.get(photo).at) latest.set(photo, decision);
        }
        for (const [photo, decision] of latest) {
          const key = byPhoto.get(photo), here = key === undefined ? undefined : decisions.get(key);
          const result = key === undefined ? "unknown" : !here ? "added" : decision.at > here.at ? "replaced" : "kept";
          counts[result]++;
          if (result === "unknown" || result === "kept") continue;
          put(key, decision);
          announce(key);
        }
        return counts;
      },
    };
  }

  function localStorageOrNull() {
    try {
      const probe = "bioclip-jax review";
      localStorage.setItem(probe, "");
      localStorage.removeItem(probe);
      return localStorage;
    } catch {
      return null;  // forbidden, or a full one
    }
  }

  function row(photo, decision) {
    const best = photo.candidates[0];
    const [genus, binomial] = [decision.lineage[5] ?? "", decision.lineage[6] ?? ""];
    const epithet = genus && binomial.startsWith(`${genus} `) ? binomial.slice(genus.length + 1) : binomial;
    const names = [...decision.lineage.slice(0, 6), ...(binomial ? [epithet] : [])];
    return {
      filepath: photo.filepath, label: decision.label, common_name: decision.common, status: decision.status,
      predicted: best?.label ?? "", score: best ? decimal(best.score, 4) : "", event: photo.event ?? "",
      reviewed_at: decision.at,
      ...Object.fromEntries(RANKS.map((rank, index) => [rank, names[index] ?? ""])),
      ...Object.fromEntries(BOX.map((name, index) => [name, photo.box ? decimal(photo.box[index], 6) : ""])),
    };
  }

  // One photo in any table: its path, and its box if it is one of several.
  function identity(filepath, box) {
    // Excel saves a decimal comma in some languages.
    const edges = (box ?? []).map((value) => decimal(Number(`${value}`.replace(",", ".")), 6));
    return [filepath.replace(/^\.\/(?=[=+\-@\t\r])/, ""), ...edges].join("\n");
  }

  // Rounded half up, as Python's writer does: toFixed and Python's format round ties differently.
  function decimal(value, digits) {
    const unit = 10 ** digits;
    return (Math.floor(value * unit + 0.5) / unit).toFixed(digits);
  }

  // Every cell quoted, and a byte order mark, by which Excel recognizes UTF-8.
  function toCsv(rows) {
    const line = (cells) => `${cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")}\n`;
    return `\ufeff${line(COLUMNS)}${rows.map((one) => line(COLUMNS.map((name) => inert(name, one[name])))).join("")}`;
  }

  function inert(column, text) {
    if (column === "filepath") return FORMULA.test(text) ? `./${text}` : text;
    return FORMULA.test(text) || QUOTED_FORMULA.test(text) ? `'${text}` : text;
  }

  // Rows as arrays of cells; the separator is the one that the header has, since Excel may save another.
  function parseCsv(text) {
    const source = text.replace(/^\ufeff/, "");
    const header = source.split(/\r?\n|\r/, 1)[0];
    const separator = [",", ";", "\t"].sort((a, b) => header.split(b).length - header.split(a).length)[0];
    const rows = [];
    let cells = [], at = 0;
    while (at < source.length) {
      let cell = "";
      if (source[at] === '"') {
        for (at++; at < source.length; at++) {
          if (source[at] !== '"') cell += source[at];
          else if (source[at + 1] === '"') cell += source[at++];
          else break;
        }
        at++;
      }
      const start = at;
      while (at < source.length && source[at] !== separator && source[at] !== "\n" && source[at] !== "\r") at++;
      cells.push(cell + source.slice(start, at));
      const end = source[at];
      if (source[at] === "\r" && source[at + 1] === "\n") at++;
      at++;
      if (end !== separator) {
        rows.push(cells);
        cells = [];
      }
    }
    if (cells.length) rows.push([...cells, ""]);
    return rows.filter((row) => row.length > 1 || row[0].trim());
  }

  function* parseDecisions(text) {
    const [header = [], ...rows] = parseCsv(text);
    const columns = header.map((name) => name.trim().toLowerCase());
    if (!["filepath", "status", "label"].every((name) => columns.includes(name))) throw new Error("columns");
    for (const cells of rows) {
      const at = (name) => {
        const value = cells[columns.indexOf(name)] ?? "";
        return name !== "filepath" && QUOTED_FORMULA.test(value) ? value.slice(1) : value;
      };
      const status = at("status").trim().toLowerCase(), label = at("label");
      if (!STATUSES.includes(status) || (status !== "rejected" && !label)) continue;
      const names = RANKS.map(at);
      if (names[5] && names[6] && !names[6].startsWith(`${names[5]} `)) names[6] = `${names[5]} ${names[6]}`;
      while (names.length && !names.at(-1)) names.pop();
      const box = at("box_x") === "" ? null : BOX.map(at);
      const decision = { status, label, lineage: names, common: at("common_name"), at: at("reviewed_at") };
      yield [identity(at("filepath"), box), decision];
    }
  }

  // The action of a key press: {name: "choose", index} or another name; null for keys that mean nothing here, are
  // typed into a field, or belong to the focused control.
  function action(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
    const control = event.target?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (control) return null;
    const { key } = event;
    if ((key === "Enter" || key === " ") && event.target?.closest?.("button, a, summary, label, input")) return null;
    // French keyboards have the digits on Shift.
    const digit = /^\d$/.test(key) ? key : !event.shiftKey && event.code?.match(/^Digit(\d)$/)?.[1];
    if (digit > 0) return { name: "choose", index: digit - 1 };
    const name = {
      Enter: "confirm", y: "confirm", n: "reject", 0: "reject", e: "type", "/": "type", u: "undo", j: "next",
      ArrowRight: "next", k: "previous", ArrowLeft: "previous", "?": "help", Escape: "close",
    }[digit || (key.length === 1 ? key.toLowerCase() : key)];
    return name ? { name } : null;
  }

  // Search by scientific or common name, any case and accents: first names that begin with the query, then those with
  // a word that does, then those that contain it. names: [{label, common}].
  function createSearch(names) {
    const entries = new Map();
    const add = (name) => {
      const { label, common } = name;
      if (label && !entries.has(label)) entries.set(label, [plain(`${label}\n${common}`), name]);
    };
    names.forEach(add);
    return {
      add,
      exact(text) {
        const wanted = plain(text.trim());
        for (const [texts, name] of entries.values()) if (texts.split("\n").includes(wanted)) return name;
        return null;
      },
      find(query, limit = 8) {
        const wanted = plain(query.trim()), groups = [[], [], []];
        if (!wanted) return [];
        for (const [texts, name] of entries.values()) {
          const at = `\n${texts}`.indexOf(`\n${wanted}`) >= 0 ? 0 : ` ${texts}`.includes(` ${wanted}`) ? 1 :
            texts.includes(wanted) ? 2 : 3;
          if (at < 3 && groups[at].length < limit) groups[at].push(name);
        }
        return groups.flat().slice(0, limit);
      },
    };
  }

  function plain(value) { return value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase(); }

  // A number that orders photos at random, the same ones alike after a reload (FNV-1a).
  function shuffled(filepath) {
    let hash = 0x811c9dc5;
    for (const character of filepath) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
    return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  }

  function download(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    // The download may still read it.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  return { COLUMNS, STATUSES, createStore, createSearch, toCsv, parseCsv, action, plain, shuffled, download };
})();
