"use strict";
// Hide the maps, set their strength, and choose the candidate whose map is shown.
const controls = document.getElementById("controls");
if (controls) {
  const show = document.getElementById("show-map");
  const strength = document.getElementById("strength");
  const value = document.getElementById("strength-value");
  const update = () => {
    document.body.classList.toggle("no-map", !show.checked);
    document.body.style.setProperty("--strength", strength.value / 100);
    value.textContent = `${strength.value}\u00a0%`;
  };
  show.addEventListener("change", update);
  strength.addEventListener("input", update);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  update();
}
for (const button of document.querySelectorAll(".choose")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const section = button.closest("section");
    for (const map of section.querySelectorAll(".map")) {
      map.hidden = map.dataset.candidate !== button.dataset.candidate;
    }
    for (const other of section.querySelectorAll(".choose")) {
      other.setAttribute("aria-pressed", String(other === button));
      other.closest("li").classList.toggle("chosen", other === button);
    }
  });
}
