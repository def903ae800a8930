// The line at the bottom that says what happens, also to screen readers.
(() => {
  const line = document.createElement("div");
  line.id = "bj-status";
  line.setAttribute("role", "status");
  let timer = 0;

  // Shows a sentence. options: busy: until the next one, with a sign of work; failed: in the color of errors.
  bioclip.tell = (sentence, {busy = false, failed = false} = {}) => {
    if (!line.isConnected) document.body.append(line);
    clearTimeout(timer);
    line.textContent = sentence;
    line.className = busy ? "bj-busy" : failed ? "bj-error" : "";
    if (!busy) timer = setTimeout(() => (line.textContent = ""), failed ? 30000 : 4000);
  };
})();
