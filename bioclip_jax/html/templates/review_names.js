// A field for any name, with suggestions: the combobox of WAI-ARIA's practices, and an element for a name.
"use strict";
const bioclipReviewNames = (() => {
  // search: of bioclipReview.createSearch. label: of the field. suggestions: name of the list for screen readers.
  // choose: called with a name, suggested or as typed. leave: called when Escape leaves the field.
  function createField({ search, label, suggestions, choose, leave }) {
    let suggested = [], active = -1;
    const input = make("input", {
      type: "text", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", autocomplete: "off",
      "aria-controls": "review-suggestions", autocapitalize: "off", spellcheck: "false", maxlength: "200",
    });
    const list = make("ul", { id: "review-suggestions", role: "listbox", "aria-label": suggestions, hidden: "" });
    const caption = make("span", {}, label, " ", make("kbd", { "aria-hidden": "true" }, "e"));
    const element = make("div", { class: "review-type" }, make("label", {}, caption, input), list);
    input.addEventListener("input", suggest);
    input.addEventListener("keydown", pressed);
    input.addEventListener("blur", close);
    return {
      element,
      focus: () => input.focus(),
      clear() {
        input.value = "";
        close();
      },
    };

    function suggest() {
      suggested = search.find(input.value);
      list.replaceChildren(...suggested.map((name, index) => {
        const attributes = { role: "option", id: `review-option-${index}`, "aria-selected": "false" };
        const option = make("li", attributes, nameElement(name));
        // The field keeps the focus, whose loss would close the list before the click.
        option.addEventListener("pointerdown", (event) => event.preventDefault());
        option.addEventListener("click", () => choose(name));
        return option;
      }));
      highlight(-1);
      list.hidden = !suggested.length;
      input.setAttribute("aria-expanded", String(!list.hidden));
      list.scrollIntoView({ block: "nearest" });
    }

    function highlight(index) {
      active = index;
      [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
      list.children[index]?.scrollIntoView({ block: "nearest" });
      if (index < 0) input.removeAttribute("aria-activedescendant");
      else input.setAttribute("aria-activedescendant", `review-option-${index}`);
    }

    function close() {
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
      highlight(-1);
    }

    function pressed(event) {
      if (event.isComposing) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const from = active < 0 && step < 0 ? 0 : active;
      if (step && !list.hidden) highlight((from + step + suggested.length) % suggested.length);
      else if (event.key === "Enter") accept();
      else if (event.key === "Escape" && !list.hidden) close();
      else if (event.key === "Escape") leave();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    function accept() {
      const typed = input.value.trim().replace(/\s+/g, " ");
      if (active >= 0) choose(suggested[active]);
      else if (typed) choose(search.exact(typed) ?? { label: typed, lineage: [], common: "" });
    }
  }

  // The common name, the scientific name (italic for a genus or species), and the rank where given.
  function nameElement({ label, lineage, common, rank }) {
    const scientific = make(lineage.length >= 6 ? "em" : "span", {}, label);
    const parts = common ? [make("b", {}, common), " ", scientific] : [scientific];
    return make("span", { class: "review-name" }, ...parts, ...(rank ? [" ", make("small", {}, rank)] : []));
  }

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  return { createField, nameElement, make };
})();
