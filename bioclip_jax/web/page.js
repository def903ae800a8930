// Shows what a point of the map is, at the pointer or at the point that has the focus.
(() => {
  const tip = document.createElement("div");
  tip.id = "bj-tip";
  tip.hidden = true;

  function show(point) {
    const picture = point.querySelector("img")?.src ?? point.dataset.picture;
    const image = document.createElement("img");
    image.alt = "";
    image.src = picture;
    const told = document.createElement("span");
    told.textContent = point.dataset.told;
    tip.replaceChildren(image, told);
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
  // What stands in the commands is the address that this browser knows.
  document.addEventListener("toggle", () => {
    for (const address of document.querySelectorAll(".bj-address")) address.textContent = location.origin;
  }, true);
  document.addEventListener("scroll", () => (tip.hidden = true), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });
})();
