// The view "world": follow animals through the day, or look over the plain.
import {el} from "../dom.js";
import {speciesName, t} from "../text.js";
import {middleOfHerd} from "./hunt_scene.js";
import {createStage3d, watchPointers} from "./stage3d.js";

/** Seconds without a touch after which the camera drifts, and goes to where something happens. */
const ALONE_S = 9;
/** Meters from which a herd is first seen. */
const HERD_DISTANCE_M = 9;

function mountWorld(app, stage) {
  const target = new THREE.Vector3();
  const wanted = new THREE.Vector3();
  const view = {turn: 0.6, rise: 0.13, distance: 14};
  let followed = 0;
  let alone = 0;
  let shown = null;
  let cut = true;
  const label = el("p", {class: "world-name"});

  const self = createStage3d(app, stage, {
    opened(world, track) {
      const first = track.events.find((event) => event.kind === "stalk" || event.kind === "chase");
      self.seek(first ? Math.max(0, first.time - 3) : 0);
      const herd = middleOfHerd(track, self.time, HERD_DISTANCE_M);
      const start = first ? self.indexOf(first.actor) : herd.index;
      follow(start >= 0 ? start : present(0, 1));
      if (!first && start >= 0) [view.turn, view.distance] = [herd.turn, HERD_DISTANCE_M];
      cut = true;
    },
    place(camera, dt, time) {
      const {animals, ground} = self.world();
      if (!isThere(followed)) follow(present(followed, 1));
      const body = animals[followed];
      alone += dt;
      if (alone > ALONE_S) {
        if (!self.still) view.turn += dt * 0.035;
        visit(time);
      }
      wanted.set(body.x, body.y + 0.75 * body.scale, body.z);
      if (cut || self.still) target.copy(wanted);
      else target.lerp(wanted, 1 - Math.exp(-dt * 4));
      cut = false;
      self.world().clear(0.35 * view.distance);
      const flat = Math.cos(view.rise) * view.distance;
      camera.position.set(
        target.x + flat * Math.cos(view.turn), target.y + Math.sin(view.rise) * view.distance, target.z + flat * Math.sin(view.turn),
      );
      const floor = ground(camera.position.x, -camera.position.z) + 0.45;
      camera.position.y = Math.max(camera.position.y, floor);
      camera.lookAt(target.x, target.y + 0.06 * view.distance, target.z);
    },
  });
  self.root.append(label);

  const isThere = (index) => self.track().isThere(index, self.time);

  /** Return the next animal that is there, going on from an index; of another species if `other`. */
  const present = (from, step, other = false) => {
    const {animals} = self.track();
    for (let away = 1; away <= animals.length; away += 1) {
      const index = (from + step * away + animals.length * 2) % animals.length;
      if (isThere(index) && (!other || animals[index].species !== animals[from].species)) return index;
    }
    return from;
  };

  const follow = (index) => {
    const changed = index !== followed;
    followed = index;
    const body = self.world().animals[index];
    if (changed && Math.hypot(body.x - target.x, body.z - target.z) > 60) cut = true;
    if (changed || cut) view.distance = Math.min(90, Math.max(2.6, 3.8 * body.scale + (body.fly > 0.5 ? 12 : 0)));
    label.textContent = speciesName(self.track().animals[index].species);
    if (self.still) cut = true;
  };

  /** Go to where the scene's next event begins. */
  const visit = (time) => {
    const event = self.track().events.find((one) => time >= one.time - 2 && time < one.time + 1);
    if (!event || event === shown) return;
    shown = event;
    const index = self.indexOf(event.actor);
    if (index >= 0) follow(index);
  };

  const end = watchPointers(self.canvas, {
    drag(dx, dy) {
      alone = 0;
      view.turn -= dx * 0.006;
      view.rise = Math.min(1.35, Math.max(-0.08, view.rise + dy * 0.005));
    },
    zoom(amount) {
      alone = 0;
      view.distance = Math.min(160, Math.max(2.2, view.distance * Math.exp(amount)));
    },
    tap(x, y) {
      alone = 0;
      const index = self.world() ? self.world().pick(x, y, self.camera) : -1;
      if (index >= 0) choose(index);
    },
  });

  const choose = (index) => {
    follow(index);
    app.announce(t("world.follow", {name: label.textContent}));
  };

  return {
    frame: self.frame,
    resize: self.resize,
    action(name) {
      if (!self.world()) return;
      alone = 0;
      if (name === "left") view.turn += 0.25;
      if (name === "right") view.turn -= 0.25;
      if (name === "up") view.distance = Math.max(2.2, view.distance * 0.8);
      if (name === "down") view.distance = Math.min(160, view.distance * 1.25);
      if (name === "select") view.rise = view.rise > 0.5 ? 0.12 : view.rise + 0.22;
      if (name === "next") choose(present(followed, 1, true));
      if (name === "back") choose(present(followed, -1, true));
    },
    dispose() {
      end();
      self.dispose();
    },
  };
}

export const worldMode = {id: "world", needsWebGL: true, mount: mountWorld};
