// The view "lion": the hunter's sight of you, one animal of the herd.
import {el} from "../dom.js";
import {createEyeBar} from "../eyes/bar.js";
import {number, speciesName, t} from "../text.js";
import {wrapAngle} from "../track.js";
import {distanceBetween, huntOf} from "./hunt_scene.js";
import {createStage3d, watchPointers} from "./stage3d.js";

const LION_LEAD_S = 2;

function mountLion(app, stage) {
  const eyes = new THREE.Vector3();
  const you = new THREE.Vector3();
  const aim = new THREE.Vector3();
  const look = {turn: 0, rise: 0};
  let hunt = null;
  let prey = -1;
  let heading = null;
  const text = el("p", {class: "world-question"});
  const card = el("div", {class: "world-card"}, text);
  const mark = el("div", {class: "world-you", text: t("lion.you")});
  const bar = createEyeBar(app, ["Panthera leo", "Homo sapiens"], {under: card});

  const self = createStage3d(app, stage, {
    around: true,
    opened(world, track) {
      hunt = huntOf(track);
      heading = null;
      const missing = hunt.lion < 0 || hunt.zebra < 0;
      card.hidden = mark.hidden = missing;
      if (missing) return self.note(t("lion.none"));
      prey = hunt.victim >= 0 ? hunt.victim : hunt.zebra;
      world.hide(hunt.lion);
      self.seek(hunt.stalk === null ? 0 : hunt.stalk - LION_LEAD_S);
      return undefined;
    },
    place(camera, dt) {
      if (!hunt || prey < 0 || hunt.lion < 0) return;
      const {headOf, animals, ground} = self.world();
      headOf(hunt.lion, eyes);
      const body = animals[prey];
      you.set(body.x, body.y + 0.8 * body.scale, body.z);
      const goal = Math.atan2(-(you.x - eyes.x), -(you.z - eyes.z));
      const turn = heading === null ? 0 : wrapAngle(goal - heading);
      if (heading === null || (self.still && Math.abs(turn) > 0.35)) heading = goal;
      else if (!self.still) heading += turn * (1 - Math.exp(-dt * 2.5));
      camera.position.lerp(eyes, camera.position.lengthSq() === 0 ? 1 : 1 - Math.exp(-dt * 7));
      camera.position.y = Math.max(camera.position.y, ground(camera.position.x, -camera.position.z) + 0.42);
      camera.fov = camera.aspect < 0.8 ? 66 : 46;
      camera.updateProjectionMatrix();
      const rise = Math.atan2(you.y - camera.position.y, Math.hypot(you.x - eyes.x, you.z - eyes.z));
      camera.rotation.set(rise + look.rise, heading + look.turn, 0, "YXZ");
      camera.updateMatrixWorld();
      point(camera);
    },
    draw(three, scene, camera, sun, now) {
      three.eyes.render(scene, camera, bar.eye(), sun, {...bar.options(), time: now});
      bar.place(three.eyes.places(bar.options().top), sun);
    },
  });
  self.root.append(card, mark, bar.element);

  /** Put the mark over you, and say how far you are. */
  const point = (camera) => {
    const body = self.world().animals[prey];
    aim.set(body.x, body.y + 1.75 * body.scale, body.z).project(camera);
    const [width, height] = self.size();
    const visible = aim.z < 1 && Math.abs(aim.x) < 1 && Math.abs(aim.y) < 1;
    mark.hidden = !visible;
    mark.style.left = `${((aim.x + 1) / 2) * width}px`;
    mark.style.top = `${((1 - aim.y) / 2) * height}px`;
    const meters = Math.round(distanceBetween(self.track(), prey, hunt.lion, self.time));
    const said = t(hunt.stalk === null ? "lion.calm" : "lion.text", {
      name: speciesName(self.track().animals[prey].species), hunter: speciesName(self.track().animals[hunt.lion].species), meters: number(meters, 2),
    });
    if (text.textContent !== said) text.textContent = said;
  };

  const end = watchPointers(self.canvas, {
    drag(dx, dy) {
      look.turn += dx * 0.003;
      look.rise = Math.min(0.5, Math.max(-0.5, look.rise + dy * 0.002));
    },
    zoom() {},
    tap(x, y) {
      const index = self.world() ? self.world().pick(x, y, self.camera) : -1;
      if (index >= 0) become(index);
    },
  });

  const become = (index) => {
    prey = index;
    look.turn = look.rise = 0;
  };

  /** Be the next animal of the herd that is near. */
  const next = (step) => {
    const {animals} = self.track();
    for (let away = 1; away <= animals.length; away += 1) {
      const index = (prey + step * away + 2 * animals.length) % animals.length;
      const same = animals[index].species === animals[prey].species;
      if (same && self.track().isThere(index, self.time) && distanceBetween(self.track(), index, hunt.lion, self.time) < 220) return become(index);
    }
    return undefined;
  };

  return {
    frame: self.frame,
    resize: self.resize,
    action(name) {
      if (!self.world() || prey < 0) return;
      if (name === "left") look.turn += 0.2;
      if (name === "right") look.turn -= 0.2;
      if (name === "up") look.rise = Math.min(0.5, look.rise + 0.1);
      if (name === "down") look.rise = Math.max(-0.5, look.rise - 0.1);
      if (name === "select" || name === "back") look.turn = look.rise = 0;
      if (name === "next") next(1);
    },
    dispose() {
      end();
      bar.dispose();
      self.dispose();
    },
  };
}

export const lionMode = {id: "lion", needsWebGL: true, mount: mountLion};
