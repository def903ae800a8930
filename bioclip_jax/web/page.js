// What Gradio lacks: thumbnails on the map, reasons for failed uploads, a warning before photos are lost.
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
  // The commands show the address that this browser knows.
  document.addEventListener("toggle", () => {
    const root = new URL(".", document.baseURI).href.replace(/\/$/, "");
    for (const address of document.querySelectorAll(".bj-address")) address.textContent = root;
  }, true);
  document.addEventListener("scroll", () => (tip.hidden = true), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });

  // Reloading forgets the photos, so browsers ask first where there are any.
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector(".bj-strip")) event.preventDefault();
  });

  // Gradio's box says no more than "Error"; style.css shows this sentence instead.
  const failed = (sentence) => document.documentElement.style.setProperty("--bj-failed", JSON.stringify(sentence));
  const tooMuch = `That is too much: send at most ${window.bioclipRequestMb} MB at once.`;
  const send = window.fetch;
  window.fetch = async (resource, options) => {
    const upload = String(resource?.url ?? resource).includes("/gradio_api/upload?");
    if (!upload) return send(resource, options);
    try {
      const answer = await send(resource, options);
      if (answer.status === 413) failed(tooMuch);
      else if (!answer.ok) failed(`The server did not take the files (status ${answer.status}); please try again.`);
      return answer;
    } catch (error) {
      // A server that refuses a very large body closes the connection before it has read all of it.
      const files = options?.body instanceof FormData ? [...options.body.values()] : [];
      const size = files.reduce((sum, file) => sum + (file.size ?? 0), 0);
      failed(size > window.bioclipRequestMb * 1e6 ? tooMuch : "The server does not answer. Is it still running?");
      throw error;
    }
  };
})();
