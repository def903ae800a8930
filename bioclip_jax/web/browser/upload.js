// Adding photos: the bar's buttons, dropping anywhere, the camera of a phone, and reasons for failed uploads.
(() => {
  const root = document.documentElement;
  // Files of this visit, shown large without asking the server, which forgets them.
  bioclip.files = [];

  // Gradio removes its input while it reads files; files chosen meanwhile wait for the next one.
  let waiting = [];
  function pass() {
    const target = waiting.length && document.querySelector("#bj-drop input[type=file]");
    if (!target) return;
    const transfer = new DataTransfer();
    for (const file of waiting) transfer.items.add(file);
    waiting = [];
    target.files = transfer.files;
    target.dispatchEvent(new Event("change", {bubbles: true}));
  }
  bioclip.onChange.push(pass);

  // Passes files to Gradio's box as if they were chosen there.
  bioclip.add = (files) => {
    waiting.push(...files);
    pass();
  };

  // Inputs of our own, so that a press always opens a file chooser.
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.multiple = true;
  const camera = document.createElement("input");
  camera.type = "file";
  camera.accept = "image/*";
  camera.setAttribute("capture", "environment");
  for (const one of [chooser, camera]) {
    one.addEventListener("change", () => {
      bioclip.add([...one.files]);
      one.value = "";
    });
  }

  bioclip.acts = {
    add: () => chooser.click(),
    camera: () => camera.click(),
  };
  bioclip.chooseCamera = () => camera.click();
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-act]");
    if (button) bioclip.acts[button.dataset.act]?.(button, event);
  });

  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const inBox = (event) => event.target.closest?.("#bj-drop");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event) || inBox(event)) return;
    event.preventDefault();
    root.classList.add("bj-dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) root.classList.remove("bj-dragging");
  });
  document.addEventListener("drop", (event) => {
    root.classList.remove("bj-dragging");
    if (!hasFiles(event) || inBox(event)) return;
    event.preventDefault();
    bioclip.add([...event.dataTransfer.files]);
  });

  // Gradio's box shows only "Error"; the style sheet replaces it with this sentence.
  function failed(key, values) {
    const sentence = bioclip.text(`errors.upload_${key}`, values);
    root.style.setProperty("--bj-text-failed", JSON.stringify(sentence));
    bioclip.tell(sentence, {failed: true});
  }
  const send = window.fetch;
  window.fetch = async (resource, options) => {
    const upload = String(resource?.url ?? resource).includes("/gradio_api/upload?");
    if (!upload) return send(resource, options);
    const files = options?.body instanceof FormData ? [...options.body.values()] : [];
    bioclip.files.push(...files.filter((file) => file instanceof File));
    bioclip.tell(bioclip.text("bar.sending", {count: files.length}), {busy: true});
    const tooMuch = {mb: bioclip.requestMb};
    try {
      const response = await send(resource, options);
      if (response.status === 413) failed("large", tooMuch);
      else if (!response.ok) failed("rejected", {status: response.status});
      else bioclip.tell(bioclip.text("bar.looking"), {busy: true});
      return response;
    } catch (error) {
      // The server closes the connection while it rejects a very large body.
      const size = files.reduce((sum, file) => sum + (file.size ?? 0), 0);
      if (size > bioclip.requestMb * 1e6) failed("large", tooMuch);
      else failed("no_answer");
      throw error;
    }
  };

  // Reloading forgets the photos, so let the browser ask first.
  window.addEventListener("beforeunload", (event) => {
    if (!bioclip.leaving && document.querySelector(".bj-tools")) event.preventDefault();
  });
})();
