// Additions to Gradio: thumbnails on the map, reasons for failed uploads, a warning before photos are lost.
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

  // Reloading forgets the photos, so let the browser ask first.
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector(".bj-strip")) event.preventDefault();
  });

  // Gradio's box shows only "Error"; style.css replaces it with this sentence.
  const failed = (sentence) => document.documentElement.style.setProperty("--bj-failed", JSON.stringify(sentence));
  const tooMuch = `That is too much: send at most ${window.bioclipRequestMb} MB at once.`;
  const send = window.fetch;
  window.fetch = async (resource, options) => {
    const upload = String(resource?.url ?? resource).includes("/gradio_api/upload?");
    if (!upload) return send(resource, options);
    try {
      const response = await send(resource, options);
      if (response.status === 413) failed(tooMuch);
      else if (!response.ok) failed(`The server rejected the files (status ${response.status}); please try again.`);
      return response;
    } catch (error) {
      // The server closes the connection while it rejects a very large body.
      const files = options?.body instanceof FormData ? [...options.body.values()] : [];
      const size = files.reduce((sum, file) => sum + (file.size ?? 0), 0);
      failed(size > window.bioclipRequestMb * 1e6 ? tooMuch : "The server does not answer. Is it still running?");
      throw error;
    }
  };
})();
