// A page for a museum: one large camera button, and a fresh start after a visitor has left.
(() => {
  if (!bioclip.kiosk) return;
  const root = document.documentElement;
  root.classList.add("bj-kiosk");
  const t = (key, values) => bioclip.text(`kiosk.${key}`, values);
  const WARNING_SECONDS = 15;
  let last = Date.now();
  let stream = null;

  const button = (text, act, kind = "") => {
    const element = document.createElement("button");
    element.type = "button";
    element.className = `bj-button ${kind}`;
    element.textContent = text;
    element.addEventListener("click", act);
    return element;
  };

  const camera = document.createElement("dialog");
  camera.id = "bj-camera";
  const video = document.createElement("video");
  video.playsInline = video.muted = true;
  const closeCamera = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    camera.close();
  };
  const shoot = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      closeCamera();
      bioclip.add([new File([blob], `${t("photo")} ${new Date().toLocaleTimeString(bioclip.code)}.jpg`.replaceAll(":", "."), { type: "image/jpeg" })]);
    }, "image/jpeg", 0.92);
  };
  camera.addEventListener("cancel", closeCamera);

  // A live preview needs https or this machine; elsewhere the device's own camera or file chooser opens.
  bioclip.acts.camera = async () => {
    if (!navigator.mediaDevices?.getUserMedia) return bioclip.chooseCamera();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1600 } } });
    } catch {
      bioclip.tell(t("no_camera"), { failed: true });
      return undefined;
    }
    const line = document.createElement("p");
    line.textContent = t("hold");
    const row = document.createElement("div");
    row.append(button(t("shoot"), shoot), button(t("retake"), closeCamera));
    camera.setAttribute("aria-label", t("start"));
    camera.replaceChildren(line, video, row);
    if (!camera.isConnected) document.body.append(camera);
    video.srcObject = stream;
    camera.showModal();
    return video.play();
  };

  // Forgets everything, with a warning that any touch or key takes back.
  const warning = document.createElement("dialog");
  warning.id = "bj-idle";
  const question = document.createElement("h2");
  const countdown = document.createElement("p");
  countdown.setAttribute("role", "status");
  const stay = button("", () => warning.close());
  warning.append(question, countdown, stay);
  const busy = () => document.querySelector(".bj-tools") || document.querySelector("dialog[open]") || bioclip.code !== bioclip.firstCode;
  for (const kind of ["pointerdown", "keydown", "input"]) {
    document.addEventListener(kind, () => {
      last = Date.now();
      if (warning.open) warning.close();
    }, true);
  }
  setInterval(() => {
    const left = Math.ceil(bioclip.kiosk - (Date.now() - last) / 1000);
    if (!busy()) {
      last = Date.now();
      return;
    }
    if (left <= 0) {
      try {
        localStorage.clear();
      } catch { /* Nothing is kept then. */ }
      bioclip.leaving = true;
      location.reload();
    } else if (left <= Math.min(WARNING_SECONDS, bioclip.kiosk / 2)) {
      question.textContent = t("still_there");
      stay.textContent = t("stay");
      countdown.textContent = t("resets", { count: left });
      warning.setAttribute("aria-label", t("still_there"));
      if (!warning.isConnected) document.body.append(warning);
      if (!warning.open) warning.showModal();
    }
  }, 500);

  const start = document.createElement("div");
  start.id = "bj-start";
  bioclip.onChange.push(() => {
    const drop = document.querySelector("#bj-drop");
    if (!drop || drop.previousElementSibling === start) return;
    drop.before(start);
  });
  let drawn = "";
  bioclip.onChange.push(() => {
    if (drawn === bioclip.code) return;
    drawn = bioclip.code;
    start.replaceChildren(
      button(t("start"), () => bioclip.acts.camera(), "bj-big"),
      button(t("choose"), () => bioclip.acts.add(), "bj-big bj-second"),
    );
  });
})();
