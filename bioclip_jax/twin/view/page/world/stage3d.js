// What the three views of the living world share: loading, the loop of time, drawing, captions, and an end to all of it.
import {el} from "../dom.js";
import {HOURS} from "../settings.js";
import {speciesName, t} from "../text.js";
import {GRASS_LAYER} from "./grass.js";
import {createWorld} from "./world.js";

/** Seconds for which an event's caption stands. */
const CAPTION_S = 6;
/** Seconds in which the picture fades where the scene begins anew. */
const FADE_S = 0.8;
/** Frame times in seconds above and below which pixels are drawn larger or finer. */
const SLOW_S = 0.085;
const FAST_S = 0.03;
/** Pixels drawn for one of CSS: at first, since the first frame also compiles and builds, and the bounds of what follows. */
const FIRST_RATIO = 0.75;
const LEAST_RATIO = 0.5;
const MOST_RATIO = 1.5;

/**
 * Return a stage for a view of the world: {camera, canvas, root, still, time, world(), track(), note(text), seek(seconds),
 * nameOf(id), indexOf(id), size(), frame, resize, dispose}. opened(world, track) is called when a scene is ready;
 * place(camera, dt, time) moves the camera every frame; draw(three, scene, camera, sun, now) draws, by default plainly;
 * around: it draws animals behind the camera too.
 */
export function createStage3d(app, stage, {opened, place, draw = null, around = false}) {
  const three = app.three();
  const canvas = three.renderer.domElement;
  const veil = el("div", {class: "world-veil"});
  const line = el("p", {class: "world-caption"});
  const note = el("p", {class: "world-note", text: t("world.loading")});
  const root = el("div", {class: "world-stage"}, canvas, veil, line, note);
  stage.append(root);
  const camera = new THREE.PerspectiveCamera(50, 1, 0.15, 9000);
  camera.layers.enable(GRASS_LAYER);
  const still = app.settings.reducedMotion;
  let [width, height, ratio] = [1, 1, FIRST_RATIO];
  let world = null;
  let track = null;
  let sun = HOURS[0].sun;
  let ended = false;
  let request = 0;
  let pace = 0.05;
  let settled = 0;
  let said = null;

  const self = {
    camera, canvas, root, time: 0, world: () => world, track: () => track, still,
    /** Show one line in place of events. */
    note(text) {
      note.textContent = text;
      note.hidden = !text;
    },
    seek(seconds) {
      self.time = Math.min(Math.max(0, seconds), track.duration - 1);
      world.update(self.time, camera.position);
    },
    /** Return the everyday name of the animal of an id. */
    nameOf: (id) => {
      const animal = track.animals.find((one) => one.id === id);
      return animal ? speciesName(animal.species) : t("world.someone");
    },
    indexOf: (id) => track.animals.findIndex((one) => one.id === id),
    frame(now, dt) {
      if (!world || ended) return;
      self.time += Math.min(dt, 0.25);
      if (self.time >= track.duration) {
        self.time = 0;
        said = null;
      }
      const rest = Math.min(self.time, track.duration - self.time);
      veil.style.opacity = String(Math.max(0, 1 - rest / FADE_S));
      place(camera, dt, self.time, now);
      camera.updateMatrixWorld();
      world.update(self.time, camera, still ? 0 : now, around);
      adapt(dt);
      if (draw) draw(three, world.scene, camera, sun, now);
      else {
        three.renderer.setRenderTarget(null);
        three.renderer.setViewport(0, 0, width, height);
        three.renderer.render(world.scene, camera);
      }
      tell();
    },
    resize(w, h) {
      [width, height] = [Math.max(1, w), Math.max(1, h)];
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
      three.eyes.setSize(width, height, ratio);
    },
    size: () => [width, height],
    dispose() {
      ended = true;
      listeners.forEach((end) => end());
      close();
      root.remove();
    },
  };

  const close = () => {
    if (world) world.dispose();
    world = null;
    three.renderer.renderLists.dispose();
  };

  /** Draw fewer pixels where frames take long, more where there is time. */
  const adapt = (dt) => {
    pace += (dt - pace) * 0.08;
    settled += dt;
    if (settled < 1.2) return;
    const most = Math.min(MOST_RATIO, window.devicePixelRatio || 1);
    let wanted = ratio;
    // Twice as many pixels in a third of the time keep below the slow frame, so that ratios do not swing.
    if (pace > SLOW_S) wanted = Math.max(LEAST_RATIO, ratio * (pace > 2 * SLOW_S ? 0.65 : 0.8));
    else if (pace < FAST_S) wanted = Math.min(most, ratio * (pace < FAST_S / 1.5 ? 1.4 : 1.15));
    if (Math.abs(wanted - ratio) < 0.02) return;
    settled = 0;
    ratio = wanted;
    three.eyes.setSize(width, height, ratio);
  };

  /** Say what happens, as the scene's events tell it. */
  const tell = () => {
    const event = track.events.filter((one) => self.time >= one.time && self.time < one.time + CAPTION_S).pop();
    if (event === said) return;
    said = event;
    const text = event ? eventText(event) : "";
    line.textContent = text;
    if (text) app.announce(text);
  };

  const eventText = ({kind, actor, target}) => {
    const known = target !== undefined && target >= 0 && self.indexOf(target) >= 0;
    const values = {actor: self.nameOf(actor), target: known ? self.nameOf(target) : ""};
    return t(`world.event.${kind}${known ? "" : ".alone"}`, values);
  };

  const load = async () => {
    request += 1;
    const mine = request;
    const {data, settings} = app;
    const hour = HOURS.find((one) => one.id === settings.hour) || HOURS[1];
    self.note(t("world.loading"));
    try {
      const number = data.sceneAt(settings.branch, hour.hour);
      if (number < 0) throw new Error("no scene");
      const [next, landscape] = await Promise.all([data.openScene(number), data.openLandscape()]);
      if (ended || mine !== request) return;
      close();
      track = next;
      sun = hour.sun;
      self.time = 0;
      said = null;
      line.textContent = "";
      three.eyes.forget();
      world = createWorld(landscape, track, data.species, {reducedMotion: still});
      world.setSun(sun);
      self.note("");
      world.update(0, camera.position);
      opened(world, track);
    } catch (error) {
      console.warn(error);
      if (ended || mine !== request) return;
      self.note(t("world.none"));
      app.announce(t("world.none"));
    }
  };
  const listeners = [app.on("hour", load), app.on("branch", load)];
  load();
  return self;
}

/** Call back on drags, wheel, pinch and taps of an element; returns a function that ends this. */
export function watchPointers(element, {drag, zoom, tap}) {
  const fingers = new Map();
  let moved = 0;
  const down = (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    element.setPointerCapture(event.pointerId);
    moved = 0;
  };
  const move = (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    moved += Math.abs(dx) + Math.abs(dy);
    if (fingers.size === 1) drag(dx, dy);
    else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(Math.log(Math.max(8, spread(before)) / Math.max(8, spread([event.clientX, event.clientY]))));
    }
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  };
  const up = (event) => {
    if (!fingers.delete(event.pointerId) || event.type === "pointercancel") return;
    const box = element.getBoundingClientRect();
    if (moved < 9) tap(((event.clientX - box.left) / box.width) * 2 - 1, 1 - ((event.clientY - box.top) / box.height) * 2);
  };
  const wheel = (event) => {
    event.preventDefault();
    zoom(event.deltaY * 0.0012);
  };
  const all = {pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, wheel};
  for (const [name, listener] of Object.entries(all)) element.addEventListener(name, listener, {passive: name !== "wheel"});
  return () => {
    for (const [name, listener] of Object.entries(all)) element.removeEventListener(name, listener);
  };
}
