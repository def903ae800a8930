// A closer look at a photo: what decided for each candidate, and pictures of it from the index.
(() => {
  const dialog = document.createElement("dialog");
  dialog.id = "bj-closer";
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const t = (key, values) => bioclip.text(`closer.${key}`, values);

  // Returns a name as nodes: genera and species are italic.
  function nameOf({ prediction }) {
    const { classification, common_name: common } = prediction;
    const rank = ["species", "genus", "family", "order", "class", "phylum", "kingdom"].find((one) => prediction[one]);
    const text = classification ?? prediction[rank] ?? "";
    const name = classification === undefined && ["species", "genus"].includes(rank) ? make("em", {}, text) : text;
    return common ? [`${common} (`, name, ")"] : [name];
  }
  const plainName = (one) => nameOf(one).map((part) => part.textContent ?? part).join("");

  function candidate(answer, one, chosen, choose) {
    const percent = new Intl.NumberFormat(bioclip.code, { style: "percent", maximumFractionDigits: 1 }).format(one.prediction.score);
    const button = make("button", { type: "button", class: "bj-button", "aria-pressed": `${chosen}` }, make("b", {}, percent), " ", ...nameOf(one));
    button.addEventListener("click", choose);
    const pictures = make("div", { class: "bj-references" });
    for (const reference of one.references ?? []) {
      if (!reference.thumbnail) continue;
      pictures.append(make("img", { src: reference.thumbnail, alt: t("reference", { name: plainName(one) }) }));
    }
    return make("li", {}, button, pictures.childElementCount ? pictures : make("p", {}, one.references ? t("no_reference") : ""));
  }

  function show(body, answer) {
    const picture = make("div", { class: "bj-stack" }, make("img", { src: answer.photo, alt: answer.file_name }));
    const map = make("img", { class: "bj-heat", alt: t("map_alt") });
    const [x, y, width, height] = answer.seen.map((share) => `${100 * share}%`);
    Object.assign(map.style, { left: x, top: y, width, height });
    picture.append(map);
    const list = make("ol", { class: "bj-candidates" });
    const choose = (index) => {
      const heat = answer.candidates[index]?.heat_map;
      map.hidden = !heat;
      if (heat) map.src = heat.png;
      list.replaceChildren(...answer.candidates.map((one, at) => candidate(answer, one, at === index, () => {
        choose(at);
        list.querySelectorAll("button")[at].focus();
      })));
    };
    choose(0);
    const legend = make("p", { class: "bj-legend-line" }, t("legend"));
    const method = make("p", {}, t(answer.method === "occlusion" ? "occlusion" : "gradients"));
    body.replaceChildren(make("div", {}, picture, legend, method), list);
  }

  bioclip.acts.closer = async (button) => {
    const { photo, name } = button.dataset;
    const close = make("button", { type: "button", class: "bj-button" }, bioclip.text("dialog.close"));
    close.addEventListener("click", () => dialog.close());
    const body = make("div", { class: "bj-closer-body", role: "status" }, make("p", {}, t("working")));
    dialog.replaceChildren(make("div", { class: "bj-dialog-head" }, make("h2", {}, name), close), body);
    dialog.setAttribute("aria-label", t("title", { name }));
    if (!dialog.isConnected) document.querySelector(".gradio-container").append(dialog);
    dialog.showModal();
    dialog.addEventListener("close", () => button.focus(), { once: true });
    try {
      const file = await bioclip.fileOf(photo, name);
      if (!file) throw new Error(t("no_file"));
      const form = new FormData();
      form.append("file", file);
      const query = document.querySelector(".bj-review-data")?.dataset.query ?? "";
      const response = await fetch(`api/explain?k=5${query}`, { method: "POST", body: form });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      show(body, answer);
      body.removeAttribute("role");
    } catch (error) {
      const message = error instanceof TypeError ? bioclip.text("errors.upload_no_answer") : error.message;
      body.replaceChildren(make("p", { role: "alert" }, message));
    }
  };
})();
