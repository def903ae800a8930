// The view "herd": you are one zebra; how early does the lion show?
import {el} from "../dom.js";
import {createEyeBar} from "../eyes/bar.js";
import {number, speciesName, t} from "../text.js";
import {wrapAngle} from "../track.js";
import {distanceBetween, huntOf} from "./hunt_scene.js";
import {createStage3d, watchPointers} from "./stage3d.js";

/** Seconds before the stalk at which the scene begins. */
const LEAD_S = 4;
const TURN_STEP = Math.PI / 8;

function mountHerd(app, stage) {
  const head = {position: new THREE.Vector3(), quaternion: new THREE.Quaternion()};
  const euler = new THREE.Euler(0, 0, 0, "YXZ");
  const look = {turn: 0, rise: 0};
  const seen = new Map();
  let hunt = null;
  let heading = NaN;
  const question = el("p", {class: "world-question"});
  const button = el("button", {type: "button", class: "world-spot", text: t("herd.spot"), on: {click: () => spot()}});
  const answer = el("p", {class: "world-answer", role: "status"});
  const card = el("div", {class: "world-card"}, question, button, answer);
  const bar = createEyeBar(app, ["Equus quagga", "Homo sapiens"], {under: card, changed: () => hunt && reset()});

  const self = createStage3d(app, stage, {
    around: true,
    opened(world, track) {
      hunt = huntOf(track);
      heading = NaN;
      card.hidden = hunt.zebra < 0;
      if (hunt.zebra < 0) return self.note(t("herd.none"));
      world.hide(hunt.zebra);
      self.seek(hunt.stalk === null ? 0 : hunt.stalk - LEAD_S);
      reset();
      return undefined;
    },
    place(camera, dt) {
      if (!hunt || hunt.zebra < 0) return;
      const {headOf, animals} = self.world();
      headOf(hunt.zebra, head.position, head.quaternion);
      euler.setFromQuaternion(head.quaternion);
      // Grazers keep their eyes level while the head goes down.
      const goal = euler.y;
      // Without motion the picture turns by cuts, once she has turned away.
      if (!Number.isFinite(heading) || (self.still && Math.abs(wrapAngle(goal - heading)) > 0.7)) heading = goal;
      else if (!self.still) heading += wrapAngle(goal - heading) * (1 - Math.exp(-dt * 3));
      const smooth = self.time < 0.2 || camera.position.lengthSq() === 0 ? 1 : 1 - Math.exp(-dt * 6);
      const body = animals[hunt.zebra];
      if (self.still) head.position.set(body.x, body.y + 1.05 * body.scale, body.z);
      camera.position.lerp(head.position, smooth);
      const floor = self.world().ground(camera.position.x, -camera.position.z) + 0.35;
      if (camera.position.y < floor) camera.position.y = floor;
      camera.fov = camera.aspect < 0.8 ? 75 : 62;
      camera.updateProjectionMatrix();
      camera.rotation.set(Math.max(-0.9, Math.min(0.9, look.rise)), heading + look.turn, 0, "YXZ");
    },
    draw(three, scene, camera, sun, now) {
      three.eyes.render(scene, camera, bar.eye(), sun, {...bar.options(), time: now});
      bar.place(three.eyes.places(bar.options().top), sun);
    },
  });
  self.root.append(card, bar.element);

  const reset = () => {
    if (!hunt) return;
    const name = hunt.lion >= 0 ? speciesName(self.track().animals[hunt.lion].species) : "";
    question.textContent = hunt.stalk === null ? t("herd.peace") : t("herd.question", {name});
    button.hidden = hunt.stalk === null;
    button.textContent = t("herd.spot", {name});
    answer.textContent = "";
    if (hunt.stalk !== null && self.track()) self.seek(hunt.stalk - LEAD_S);
  };

  /** Note at what distance the visitor sees the lion, if it is in the picture. */
  const spot = () => {
    if (!hunt || hunt.stalk === null || !self.world()) return;
    const body = self.world().animals[hunt.lion];
    const place = new THREE.Vector3(body.x, body.y + 0.5, body.z).project(self.camera);
    const inView = body.state && place.z < 1 && Math.abs(place.x) < 1 && Math.abs(place.y) < 1;
    const name = speciesName(self.track().animals[hunt.lion].species);
    if (!inView) return say(t("herd.miss", {name}));
    const meters = distanceBetween(self.track(), hunt.zebra, hunt.lion, self.time);
    const eye = bar.eye().name;
    seen.set(eye, Math.max(meters, seen.get(eye) || 0));
    const parts = [t("herd.seen", {name, meters: number(meters, 2)})];
    if (hunt.flight !== null) {
      const fled = distanceBetween(self.track(), hunt.zebra, hunt.lion, hunt.flight);
      const early = hunt.flight - self.time;
      parts.push(early > 0 ? t("herd.before", {seconds: number(early, 2), meters: number(fled, 2)}) : t("herd.after", {meters: number(fled, 2)}));
    }
    const other = [...seen].find(([key]) => key !== eye);
    parts.push(other ? t(eye === "Homo sapiens" ? "herd.zebra" : "herd.person", {meters: number(other[1], 2)}) : t("herd.try"));
    return say(parts.join(" "));
  };

  const say = (text) => {
    answer.textContent = text;
  };

  const end = watchPointers(self.canvas, {
    drag(dx, dy) {
      look.turn = wrapAngle(look.turn + dx * 0.004);
      look.rise = Math.min(0.7, Math.max(-0.7, look.rise + dy * 0.003));
    },
    zoom() {},
    tap: () => spot(),
  });

  return {
    frame: self.frame,
    resize: self.resize,
    action(name) {
      if (name === "left") look.turn = wrapAngle(look.turn + TURN_STEP);
      if (name === "right") look.turn = wrapAngle(look.turn - TURN_STEP);
      if (name === "up") look.rise = Math.min(0.7, look.rise + 0.12);
      if (name === "down") look.rise = Math.max(-0.7, look.rise - 0.12);
      if (name === "select") spot();
      if (name === "back") look.turn = 0;
      if (name === "next") reset();
    },
    dispose() {
      end();
      bar.dispose();
      self.dispose();
    },
  };
}

export const herdMode = {id: "herd", needsWebGL: true, mount: mountHerd};
