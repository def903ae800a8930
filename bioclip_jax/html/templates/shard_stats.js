// Icicle chart of the tree: a column per rank, heights are shares of the images. A click or Enter zooms.
"use strict";
(() => {
  const { tree, ranks, plurals } = JSON.parse(document.getElementById("tree-data").textContent);
  const UNKNOWN_RANK = 1, NOT_NAMED_FURTHER = 2, OTHERS = 3;
  const SMALLEST = 2.5, LINE = 14, COLUMN = 96, SPINE = 30, DOMINANT = 0.75;
  const box = document.getElementById("tree-box");
  const status = document.getElementById("tree-status");
  const path = document.getElementById("tree-path");
  const list = document.getElementById("tree-list");
  const help = "Tree of the taxa; arrow keys move, Enter zooms in, Escape zooms out";
  const svg = element("svg", { role: "tree", "aria-label": help });
  const pen = document.createElement("canvas").getContext("2d");
  let focus = tree, drawn = [], active = tree;

  document.getElementById("tree").hidden = false;
  link(tree, null, 0);
  box.append(svg);
  new ResizeObserver(() => draw()).observe(box);
  zoom(columns() > ranks.length ? tree : trunk(tree), false);

  function link(node, parent, depth) {
    node.parent = parent;
    node.depth = depth;
    for (const child of node.k || []) link(child, node, depth + 1);
  }

  function narrow() { return box.clientWidth < 640; }

  function columns() { return 1 + Math.max(2, Math.floor((box.clientWidth - (narrow() ? SPINE : COLUMN)) / COLUMN)); }

  // If few ranks fit, the chart starts where the tree branches.
  function trunk(node) {
    const [child] = node.k || [];
    return child && child.k && child.i > DOMINANT * node.i ? trunk(child) : node;
  }

  // Taxa get hues in rotation and share them with their descendants; a dominant taxon leaves hues to its children.
  function assignHues(node, next = 0) {
    node.hue = undefined;
    for (const child of node.k || []) {
      if (child.k && child.i > DOMINANT * focus.i) next = assignHues(child, next);
      else paint(child, next++ % 7);
    }
    return next;
  }

  function paint(node, hue) {
    node.hue = hue;
    for (const child of node.k || []) paint(child, hue);
  }

  function rank(node) { return ranks[node.depth - 1]; }

  function name(node) {
    if (node === tree) return "All";
    if (node.t === OTHERS) return `${count(node.s)} other${node.s === 1 ? "" : "s"}`;
    if (node.t === NOT_NAMED_FURTHER) return node.depth === 1 ? "no taxon" : `no ${rank(node)} named`;
    if (node.t === UNKNOWN_RANK) return `(no ${rank(node)})`;
    return rank(node) === "species" ? species(node) : node.n;
  }

  function species(node) {
    return node.parent.n ? `${node.parent.n} ${node.n}` : node.n;
  }

  function count(value) { return value.toLocaleString("en-US"); }

  function amount(value, one, many) { return `${count(value)} ${value === 1 ? one : many}`; }

  function share(node) {
    const percent = 100 * node.i / tree.i;
    return percent && percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(1).replace(/\.0$/, "")} %`;
  }

  function describe(node) {
    const parts = [`${amount(node.i, "image", "images")}, ${share(node)} of all`];
    if (node.depth < ranks.length && !node.t) parts.push(amount(node.s, "taxon", "taxa"));
    if (node.u) parts.push("too small to be expanded");
    const kind = node.depth && !node.t ? ` (${rank(node)}${node.c ? `, ${node.c}` : ""})` : "";
    const others = node.t === OTHERS ? ` ${node.s === 1 ? rank(node) : plurals[node.depth - 1]}` : "";
    return `${name(node)}${others}${kind}: ${parts.join("; ")}`;
  }

  function element(tag, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function deepest(node) {
    return Math.max(node.depth, ...(node.k || []).map(deepest));
  }

  function zoom(node, moveFocus = true) {
    focus = node;
    active = node;
    assignHues(node);
    draw();
    trail();
    children();
    status.textContent = describe(node);
    if (moveFocus) drawn[0].mark.focus({ preventScroll: true });
  }

  function draw() {
    const width = box.clientWidth, height = narrow() ? 460 : 600;
    const levels = Math.min(deepest(focus) - focus.depth + 1, columns());
    // The focused taxon needs room only for its name, which may be rotated.
    const first = levels > 1 ? (narrow() ? SPINE : Math.min(width / levels, 110)) : width;
    const column = levels > 1 ? (width - first) / (levels - 1) : 0;
    const focused = svg.contains(document.activeElement);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    pen.font = "12px system-ui, sans-serif";
    drawn = [];
    const marks = [];
    layOut(focus, 0, height, 0, 0);
    svg.replaceChildren(...marks);
    if (!drawn.some(({ node }) => node === active)) active = focus;
    drawn.forEach((item) => item.mark.setAttribute("tabindex", item.node === active ? 0 : -1));
    if (focused) drawn.find(({ node }) => node === active).mark.focus({ preventScroll: true });

    function layOut(node, top, tall, level, row) {
      const left = level ? first + (level - 1) * column : 0;
      const wide = level ? column : first;
      const mark = box_of(node, left, top, wide, tall, row);
      drawn.push({ node, mark, level, top });
      marks.push(mark);
      if (level + 1 >= levels) return;
      let at = top, small = node.u || node.t === OTHERS ? tall : 0;
      (node.k || []).forEach((child, number) => {
        const high = tall * child.i / node.i;
        if (high < SMALLEST) {
          small += high;
        } else {
          layOut(child, at, high, level + 1, number);
          at += high;
        }
      });
      if (small > 0.5) {
        // Taxa that are too small or omitted from the page are one area, with their descendants.
        const x = left + wide;
        const hue = node.t || node.hue === undefined ? "none" : `h${node.hue}`;
        marks.push(element("rect", { class: `rest ${hue}`, x: x + 0.5, y: at, width: width - x - 1, height: small }));
      }
    }
  }

  function box_of(node, left, top, wide, tall, row) {
    const hue = node.t || node.hue === undefined ? "none" : `h${node.hue}`;
    const mark = element("g", { class: `taxon ${hue}${row % 2 ? " odd" : ""}${node.k ? " open" : ""}`, role: "treeitem",
      "aria-level": node.depth + 1, "aria-label": describe(node) });
    if (node.k) mark.setAttribute("aria-expanded", node === focus);
    const gap = tall > 4 ? 1 : 0.4;
    const area = { x: left + 0.5, y: top + gap / 2, width: Math.max(1, wide - 1), height: tall - gap };
    mark.append(element("rect", { ...area, rx: tall > 8 ? 2 : 0 }));
    if (wide === SPINE) {
      upright(mark, name(node), left, wide, tall);
    } else if (tall >= LINE - 1.5) {
      label(mark, name(node), left, top, tall < 2 * LINE ? tall / 2 : LINE * 0.75, wide, "name");
      if (tall >= 2.3 * LINE) label(mark, count(node.i), left, top, LINE * 1.75, wide, "count");
      if (node.c && tall >= 3.4 * LINE) label(mark, node.c, left, top, LINE * 2.75, wide, "count");
    }
    const title = element("title", {});
    title.textContent = describe(node);
    mark.append(title);
    mark.addEventListener("click", () => choose(node));
    for (const event of ["focus", "mouseenter"]) mark.addEventListener(event, () => { status.textContent = describe(node); });
    return mark;
  }

  function upright(mark, words, left, wide, tall) {
    const text = element("text", { class: "name", "dominant-baseline": "central", "text-anchor": "end",
      transform: `translate(${left + wide / 2} 8) rotate(-90)` });
    text.textContent = shortened(words, tall - 16);
    mark.append(text);
  }

  function shortened(words, room) {
    let cut = words;
    while (cut.length > 1 && pen.measureText(cut === words ? cut : `${cut}…`).width > room) cut = cut.slice(0, -1);
    return cut === words ? cut : cut.length < 3 ? "" : `${cut.trimEnd()}…`;
  }

  function label(mark, words, left, top, down, wide, kind) {
    const text = element("text", { class: kind, x: left + 6, y: top + down, "dominant-baseline": "central" });
    text.textContent = shortened(words, wide - 10);
    mark.append(text);
  }

  function choose(node) {
    if (node === focus) {
      if (node.parent) zoom(node.parent);
    } else if (node.k) {
      zoom(node);
    } else {
      move(node);
    }
  }

  function move(node) {
    const item = drawn.find((other) => other.node === node);
    if (!item) return;
    active = node;
    drawn.forEach((other) => other.mark.setAttribute("tabindex", other === item ? 0 : -1));
    item.mark.focus({ preventScroll: true });
  }

  svg.addEventListener("keydown", (event) => {
    const current = drawn.find(({ mark }) => mark === document.activeElement);
    if (!current) return;
    const column = drawn.filter(({ level }) => level === current.level).sort((a, b) => a.top - b.top);
    const next = column[column.indexOf(current) + (event.key === "ArrowDown" ? 1 : -1)];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (next) move(next.node);
    } else if (event.key === "ArrowRight") {
      const child = drawn.find(({ node }) => node.parent === current.node);
      if (child) move(child.node);
    } else if (event.key === "ArrowLeft") {
      if (current.node.parent) move(current.node.parent);
    } else if (event.key === "Enter" || event.key === " ") {
      choose(current.node);
    } else if (event.key === "Escape") {
      if (focus.parent) zoom(focus.parent);
    } else {
      return;
    }
    event.preventDefault();
  });

  function button(node, words) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.addEventListener("click", () => zoom(node));
    return made;
  }

  function trail() {
    const steps = [];
    for (let node = focus; node; node = node.parent) steps.unshift(node);
    path.replaceChildren(...steps.map((node) => {
      const item = document.createElement("li");
      if (node === focus) {
        item.textContent = name(node);
        item.setAttribute("aria-current", "true");
      } else {
        item.append(button(node, name(node)));
      }
      return item;
    }));
  }

  function children() {
    const kids = focus.k || [];
    const whole = focus === tree ? "all images" : name(focus);
    const listed = kids.length ? `List: ${plurals[focus.depth]} of ${whole}` : "List";
    document.getElementById("tree-summary").textContent = listed;
    list.replaceChildren(...kids.map((node) => {
      const item = document.createElement("li");
      item.append(node.k ? button(node, name(node)) : name(node), ` ${count(node.i)} (${share(node)})`);
      return item;
    }));
  }
})();
