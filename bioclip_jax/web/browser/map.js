// Thumbnails of the map's points, and the address of this page in the examples of the API.
(() => {
  const tip = document.createElement("div");
  tip.id = "bj-tip";
  tip.hidden = true;

  function show(point) {
    const picture = point.querySelector("img")?.src ?? point.dataset.picture;
    const image = document.createElement("img");
    image.alt = "";
    image.src = picture;
    const label = document.createElement("span");
    label.textContent = point.getAttribute("aria-label");
    tip.replaceChildren(image, label);
    if (!tip.isConnected) document.body.append(tip);
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const width = 196;
    const left = Math.min(Math.max(box.left + box.width / 2 - width / 2, 8), window.innerWidth - width - 8);
    const above = box.top > 260;
    tip.style.left = `${left}px`;
    tip.style.top = above ? "" : `${box.bottom + 8}px`;
    tip.style.bottom = above ? `${window.innerHeight - box.top + 8}px` : "";
  }

  const over = (event) => {
    const point = event.target.closest?.(".bj-point");
    if (point) show(point);
    else tip.hidden = true;
  };
  for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, over);
  // Show the address of this page in the API examples.
  document.addEventListener("toggle", () => {
    const root = new URL(".", document.baseURI).href.replace(/\/$/, "");
    for (const address of document.querySelectorAll(".bj-address")) address.textContent = root;
  }, true);
  document.addEventListener("scroll", () => (tip.hidden = true), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });

  // Arrow keys move to the nearest point in their direction; the map is one stop of the Tab key.
  const directions = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  document.addEventListener("keydown", (event) => {
    const point = event.target.closest?.(".bj-point");
    const direction = directions[event.key];
    if (!point || !direction) return;
    event.preventDefault();
    const center = (one) => {
      const box = one.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const from = center(point);
    let next = null;
    let least = Infinity;
    for (const other of point.parentElement.children) {
      const [x, y] = center(other).map((value, i) => value - from[i]);
      const ahead = x * direction[0] + y * direction[1];
      const aside = Math.abs(x * direction[1]) + Math.abs(y * direction[0]);
      // Points far aside are reached by the other arrows.
      const cost = ahead + 2 * aside;
      if (other === point || ahead <= 0 || cost >= least) continue;
      [next, least] = [other, cost];
    }
    if (!next) return;
    point.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
})();
