// Keyboard and switch access: keys of the view, and a marker that scans the controls.

const ACTION_KEYS = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  Enter: "select",
  " ": "select",
  n: "next",
  Backspace: "back",
};
const SCAN_MS = 1400;
const SCANNED_CONTROLS = "button, select, input, summary, [tabindex='0']";

// Sends keys to the view while it has the focus, and to the scanning marker if that is on.
export function watchKeys(app, shell) {
  const {settings} = app;
  let timer = 0;

  shell.page.addEventListener("keydown", (event) => {
    if (!event.target.classList?.contains("stage") || event.ctrlKey || event.altKey || event.metaKey) return;
    const name = ACTION_KEYS[event.key];
    if (!name || settings.scan) return;
    event.preventDefault();
    shell.stage.action(name);
  });

  const controls = () => {
    const scope = document.querySelector("dialog[open]") ?? (shell.overlay.childElementCount ? shell.overlay : shell.page);
    return [...scope.querySelectorAll(SCANNED_CONTROLS)].filter((one) => one.checkVisibility() && !one.disabled);
  };

  // Moves the marker, which is the focus, to the next control.
  const move = () => {
    const all = controls();
    if (!all.length) return;
    const next = all[(all.indexOf(document.activeElement) + 1) % all.length];
    next.focus();
    next.scrollIntoView({block: "nearest", inline: "nearest"});
  };

  const choose = () => {
    const one = document.activeElement;
    if (one?.classList?.contains("stage")) shell.stage.action("select");
    else if (one?.type === "range") one.dispatchEvent(new CustomEvent("step", {bubbles: true}));
    else if (one?.tagName === "SELECT") {
      one.selectedIndex = (one.selectedIndex + 1) % one.options.length;
      one.dispatchEvent(new Event("change", {bubbles: true}));
    }
    else if (one?.type === "radio" || one?.type === "checkbox" || one?.tagName === "BUTTON") one.click();
    else one?.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  };

  // One key chooses and the marker moves by itself; of two keys one moves it and the other chooses.
  document.addEventListener("keydown", (event) => {
    if (!settings.scan || ![" ", "Enter"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (settings.scan === 2 && event.key === " ") move();
    else {
      choose();
      restart();
    }
  }, {capture: true});

  const restart = () => {
    clearInterval(timer);
    if (settings.scan === 1) timer = setInterval(move, SCAN_MS);
  };
  app.on("scan", restart);
  restart();
}
