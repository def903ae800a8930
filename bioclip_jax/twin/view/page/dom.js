// Elements of HTML and SVG. Text is always set as text, never parsed.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

// Returns an element; properties are attributes, except for text, and for on, an object of listeners.
export function el(tag, properties = {}, ...children) {
  return furnish(document.createElement(tag), properties, children);
}

// Returns an SVG element, as el.
export function svg(tag, properties = {}, ...children) {
  return furnish(document.createElementNS(SVG_NAMESPACE, tag), properties, children);
}

function furnish(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Sets attributes, or removes those that are null.
export function put(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, String(value));
  }
}

// Makes a row of controls one stop of the Tab key; arrow keys move and `choose` is called with the number.
export function roving(elements, chosen, choose, {both = true} = {}) {
  const select = (number) => {
    elements.forEach((one, other) => put(one, {tabindex: other === number ? 0 : -1}));
  };
  select(chosen);
  elements.forEach((element, number) => {
    element.addEventListener("focus", () => select(number));
    element.addEventListener("keydown", (event) => {
      const next = {
        ArrowRight: number + 1,
        ArrowLeft: number - 1,
        ArrowDown: both ? number + 1 : null,
        ArrowUp: both ? number - 1 : null,
        Home: 0,
        End: elements.length - 1,
      }[event.key];
      if (next === undefined || next === null) return;
      event.preventDefault();
      event.stopPropagation();
      const target = (next + elements.length) % elements.length;
      elements[target].focus();
      choose(target);
    });
  });
  return select;
}

// Fractions of 0 to 1 that depend on their arguments alone.
export function scatter(one, two, three = 0) {
  const value = Math.sin(one * 127.1 + two * 311.7 + three * 74.7) * 43758.5453;
  return value - Math.floor(value);
}
