// Photos of the page: removing one, and where the focus goes when they change.
(() => {
  const photos = () => document.querySelector(".bj-tools")?.dataset.photos.split(" ").filter(Boolean) ?? [];
  const cards = () => [...document.querySelectorAll(".bj-photo")].filter((card) => card.checkVisibility());
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  let before = [];
  let turn = null;
  // Index of a removed card, whose successor gets the focus.
  let removed = -1;
  let removedName = "";

  function remove(photo, name) {
    removed = cards().findIndex((card) => card.dataset.photo === photo);
    removedName = name;
    bioclip.send("delete", {photo});
  }
  Object.assign(bioclip.acts, {
    remove: (button) => remove(button.dataset.photo, button.dataset.name),
    clear: () => {
      removedName = "";
      bioclip.files = [];
      bioclip.send("delete", {});
    },
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" || event.target.matches?.("input, textarea, select")) return;
    const photo = event.target.closest?.(".bj-photo, [data-row]");
    const button = photo?.querySelector(".bj-remove");
    if (!button) return;
    event.preventDefault();
    remove(button.dataset.photo, button.dataset.name);
  });

  function show(card, scroll) {
    card.focus({preventScroll: true});
    if (scroll) card.scrollIntoView({block: "start", behavior: calm() ? "auto" : "smooth"});
  }

  bioclip.onChange.push(() => {
    const now = photos();
    const answered = document.querySelector(".bj-turn")?.dataset.turn ?? null;
    if (now.join() === before.join() && answered === turn) return;
    // The bar and the cards follow the notices.
    const ready = !now.length || !cards().length || cards().some((card) => now.includes(card.dataset.photo));
    if (!ready) return;
    const added = now.filter((photo) => !before.includes(photo));
    const gone = before.filter((photo) => !now.includes(photo));
    if (added.length) {
      const first = cards().find((card) => card.dataset.photo === added[0]);
      if (!first && cards().length && now.length <= 24) return;
      if (first) show(first, before.length > 0);
      bioclip.tell(bioclip.text("bar.ready", {count: added.length}));
    } else if (gone.length) {
      bioclip.tell(removedName ? bioclip.text("bar.removed", {name: removedName}) : bioclip.text("bar.cleared"));
      const next = cards()[Math.min(Math.max(removed, 0), cards().length - 1)];
      if (next && now.length) show(next, false);
      else document.querySelector("#bj-drop button")?.focus();
    } else if (answered !== turn && turn !== null) {
      bioclip.tell("");
    }
    before = now;
    turn = answered;
  });
})();
