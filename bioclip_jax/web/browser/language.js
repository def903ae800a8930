// Language of the page: the visitor's choice, else the browser's first language that the page has.
(() => {
  const KEY = "bioclip-language";
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, stored(), ...(navigator.languages ?? [])].map((code) => code?.slice(0, 2).toLowerCase());
  const root = document.documentElement;

  bioclip.code = wanted.find((code) => code in bioclip.texts) ?? "en";

  bioclip.firstCode = bioclip.code;

  // Returns a text of the table with its values filled in; count chooses the plural.
  bioclip.text = (key, values = {}) => {
    let text = bioclip.texts[bioclip.code][key];
    const singular = values.count === 1 || (values.count === 0 && bioclip.code === "fr");
    if (typeof text === "object") text = singular ? text.one : text.other;
    return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  };

  // Texts that the style sheet shows in place of Gradio's.
  function apply() {
    root.lang = bioclip.code;
    const shown = {drop: "bar.drop", tap: "bar.tap", release: "bar.release", failed: "errors.upload_failed"};
    for (const [name, key] of Object.entries(shown)) {
      root.style.setProperty(`--bj-text-${name}`, JSON.stringify(bioclip.text(key)));
    }
  }

  // Gradio names the parts of a slider in English.
  function nameSliders() {
    for (const slider of document.querySelectorAll(".slider_input_container")) {
      const block = slider.closest(".block");
      const label = block?.querySelector("[data-testid=block-info]")?.textContent.trim();
      if (!label) continue;
      const parts = {"input[type=number]": "number", "input[type=range]": "range", "button": "reset"};
      for (const [selector, name] of Object.entries(parts)) {
        const part = block.querySelector(selector);
        const text = bioclip.text(`page.slider_${name}`, {label});
        if (part && part.getAttribute("aria-label") !== text) part.setAttribute("aria-label", text);
      }
    }
  }

  // Gradio sets the browser's language.
  new MutationObserver(() => {
    if (root.lang !== bioclip.code) root.lang = bioclip.code;
  }).observe(root, {attributes: true, attributeFilter: ["lang"]});
  apply();
  if (bioclip.code !== "en") {
    // The page arrives in English and is translated at once; show it then.
    root.classList.add("bj-wait");
    setTimeout(() => root.classList.remove("bj-wait"), 3000);
  }
  document.addEventListener("change", (event) => {
    if (!event.target.matches?.(".bj-language select")) return;
    bioclip.code = event.target.value;
    try {
      localStorage.setItem(KEY, bioclip.code);
    } catch {
      // The choice then holds until the page is closed.
    }
    apply();
    bioclip.focusLanguage = true;
    bioclip.send("apply", {code: bioclip.code});
  });
  let shown = "en";
  bioclip.onChange = [() => {
    nameSliders();
    const title = document.querySelector(".bj-title");
    if (title?.lang !== bioclip.code) return;
    root.classList.remove("bj-wait");
    // Gradio measures its tabs when the window changes only.
    if (shown !== title.lang) requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
    shown = title.lang;
    if (bioclip.focusLanguage) title.querySelector("select").focus();
    bioclip.focusLanguage = false;
  }];

  // Tells the other scripts when Gradio has changed the page.
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const react of bioclip.onChange) react();
    });
  }).observe(root, {childList: true, subtree: true});
})();
