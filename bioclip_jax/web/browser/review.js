// Review of the predictions: the dialog of the reports, and the decision on each photo's card.
(() => {
  // By the photograph's content, so that adding it again shows its correction.
  const store = bioclipReview.createStore("page");
  const texts = () => bioclipReviewTexts(bioclip.code);
  const data = () => {
    const element = document.querySelector(".bj-review-data");
    return element ? JSON.parse(element.dataset.photos) : [];
  };

  bioclip.acts.review = async (button) => {
    const photos = data();
    const urls = [];
    for (const photo of photos) {
      photo.picture = document.querySelector(`.bj-open[data-photo="${photo.key}"] img`)?.src ?? "";
      const file = await bioclip.fileOf(photo.key, photo.filepath);
      // The dialog shows kinds of files that it knows by their suffix.
      photo.link = file ? `${URL.createObjectURL(file)}#${encodeURIComponent(file.name)}` : "";
      if (file) urls.push(photo.link);
    }
    const names = new Map();
    for (const { candidates } of photos) for (const one of candidates) names.set(one.label, one);
    document.querySelector("dialog.review")?.remove();
    const percent = (score) => new Intl.NumberFormat(bioclip.code, { style: "percent", maximumFractionDigits: 1 }).format(score);
    const panel = bioclipReviewPanel({
      photos, store, names: [...names.values()], lang: bioclip.code, percent, file: "corrections.csv",
      onClose: () => {
        for (const url of urls) URL.revokeObjectURL(url.split("#")[0]);
        const opener = button.isConnected ? button : document.querySelector("[data-act=review]");
        opener?.focus();
      },
    });
    panel.open(button.dataset.photo);
  };

  function label() {
    const { fill } = texts();
    for (const card of document.querySelectorAll(".bj-photo")) {
      const decision = store.get(card.dataset.photo);
      const shown = decision ? fill(decision.status, { name: decision.label }) : "";
      let line = card.querySelector(".bj-decision");
      if (!shown) line?.remove();
      else {
        if (!line) {
          line = document.createElement("p");
          line.className = "bj-decision";
          card.querySelector(".bj-headline").append(line);
        }
        if (line.textContent !== shown) line.textContent = shown;
      }
    }
  }
  store.onChange(label);
  bioclip.onChange.push(label);
})();
