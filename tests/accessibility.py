"""Contrast, focus, headings and axe-core's findings of a page, as rendered by the browser."""

from __future__ import annotations

from typing import Any

# Colors as the browser blends them, [r, g, b] from 0 to 255, and WCAG 2's contrast of two.
_COLORS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.push(rgba(getComputedStyle(at).backgroundColor));
    if (layers.at(-1)[3] === 1) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
};
const luminance = (color) => {
  const [r, g, b] = color.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
"""

_LOW_CONTRAST = (
    "() => {"
    + _COLORS
    + """
const failures = [];
const measure = (element, style, words) => {
  const size = parseFloat(style.fontSize);
  const box = element.getBoundingClientRect();
  const visible = box.width && element.checkVisibility({visibilityProperty: true});
  if (!words.trim() || size < 1 || !visible) return;
  let opacity = 1;
  for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
  const [r, g, b, a] = rgba(style.color);
  const background = behind(element);
  const ratio = contrast(over([r, g, b, a * opacity], background), background);
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const text = words.trim().slice(0, 40);
  if (ratio < (large ? 3 : 4.5)) failures.push(`${text}: ${ratio.toFixed(2)} (${style.color})`);
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (element.closest("script, style, noscript")) continue;
  measure(element, getComputedStyle(element), texts.currentNode.data);
}
for (const box of document.querySelectorAll("input, textarea")) {
  if (["range", "radio", "checkbox", "file"].includes(box.type)) continue;
  if (box.value) measure(box, getComputedStyle(box), box.value);
  else measure(box, getComputedStyle(box, "::placeholder"), box.placeholder ?? "");
}
for (const element of document.querySelectorAll("#bj-drop *")) {
  const style = getComputedStyle(element, "::after");
  if (style.content.startsWith('"')) measure(element, style, style.content);
}
return failures;
}"""
)

_FOCUS = (
    "() => {"
    + _COLORS
    + """
const element = document.activeElement;
const style = getComputedStyle(element);
const name = element.getAttribute("aria-label") ?? element.innerText?.slice(0, 40) ?? element.tagName;
const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 &&
  contrast(over(rgba(style.outlineColor), behind(element)), behind(element.parentElement)) >= 3;
return {name: `${element.tagName.toLowerCase()} ${name}`, type: element.type ?? "", visible};
}"""
)


# Gradio fades outdated results by script, not by an animation of the browser. Evaluated, since a content
# security policy forbids Playwright's wait_for_function.
_WAIT_FOR_CONTRAST = f"""
async () => {{
  const failures = {_LOW_CONTRAST};
  const start = performance.now();
  while (failures().length && performance.now() - start < 5000) {{
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }}
  return failures();
}}"""


def low_contrast(page: Any) -> list[str]:
    """Visible texts below WCAG AA (4.5:1, or 3:1 for large text), with their contrast."""
    return page.evaluate(_WAIT_FOR_CONTRAST)


def axe_violations(page: Any) -> list[str]:
    """Findings of axe-core with their elements."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in results for node in one["nodes"]]


def focused(page: Any) -> dict[str, Any]:
    """Focused element: "name", "type", and "visible", True for an outline of at least 3:1."""
    return page.evaluate(_FOCUS)


def skipped_headings(page: Any) -> list[str]:
    """Headings that skip a level."""
    headings = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter((one) => one.checkVisibility())"
        ".map((one) => [Number(one.tagName[1]), one.innerText])"
    )
    levels = [0, *(level for level, _ in headings)]
    return [
        f"h{level} {name} after h{before}"
        for before, (level, name) in zip(levels, headings)
        if level > before + 1
    ]
