// A photo in the size of the window: arrows turn to the others, Escape returns to where it was opened.
(() => {
  const dialog = document.createElement("dialog");
  dialog.id = "bj-dialog";
  dialog.innerHTML = `
    <div class="bj-dialog-head"><p></p><button type="button" class="bj-button" data-to="close"></button></div>
    <button type="button" class="bj-turn-button" data-to="previous">‹</button>
    <img alt="">
    <button type="button" class="bj-turn-button" data-to="next">›</button>`;
  const image = dialog.querySelector("img");
  let photos = [];
  let at = 0;
  let url = "";

  async function digestOf(file) {
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // Returns the visitor's own file of a photo; without https only a name tells it.
  bioclip.fileOf = async (photo, name) => {
    const example = bioclip.examples[photo];
    if (example) {
      const response = await fetch(example);
      if (response.ok) return new File([await response.blob()], name);
    }
    const alike = bioclip.files.filter((file) => file.name === name);
    if (!window.crypto?.subtle) return alike.length === 1 ? alike[0] : null;
    for (const file of alike.length ? alike : bioclip.files) {
      file.bioclipDigest ??= await digestOf(file);
      if (file.bioclipDigest === photo) return file;
    }
    return null;
  };

  async function show(index) {
    at = (index + photos.length) % photos.length;
    const {photo, name, thumbnail} = photos[at];
    const place = bioclip.text("dialog.place", {number: at + 1, count: photos.length});
    dialog.querySelector("p").textContent = photos.length > 1 ? `${name} · ${place}` : name;
    dialog.setAttribute("aria-label", name);
    image.alt = name;
    image.src = thumbnail;
    const file = await bioclip.fileOf(photo, name);
    if (!file || photos[at]?.photo !== photo || !dialog.open) return;
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(file);
    image.src = url;
  }
  // A browser cannot show every kind that the server reads.
  image.addEventListener("error", () => {
    if (photos[at] && image.src !== photos[at].thumbnail) image.src = photos[at].thumbnail;
  });

  bioclip.acts.open = (button) => {
    const scope = [...document.querySelectorAll(".bj-open")].filter((one) => one.checkVisibility());
    const seen = new Map(scope.map((one) => [one.dataset.photo, {
      photo: one.dataset.photo, name: one.dataset.name, thumbnail: one.querySelector("img").src,
    }]));
    photos = [...seen.values()];
    if (!dialog.isConnected) document.body.append(dialog);
    for (const one of dialog.querySelectorAll("[data-to]")) {
      const text = bioclip.text(`dialog.${one.dataset.to}`);
      if (one.dataset.to === "close") one.textContent = text;
      else one.setAttribute("aria-label", text);
      one.hidden = one.dataset.to !== "close" && photos.length < 2;
    }
    dialog.showModal();
    show(photos.findIndex((one) => one.photo === button.dataset.photo));
    dialog.addEventListener("close", () => {
      URL.revokeObjectURL(url);
      url = "";
      const opener = button.isConnected ? button : document.querySelector(`.bj-open[data-photo="${button.dataset.photo}"]`);
      opener?.focus();
    }, {once: true});
  };
  dialog.addEventListener("click", (event) => {
    const to = event.target.dataset?.to;
    if (to === "previous") show(at - 1);
    else if (to === "next") show(at + 1);
    else if (to === "close" || event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (photos.length < 2) return;
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
})();
