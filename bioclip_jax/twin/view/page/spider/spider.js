// The view "spider": a jumping spider on a zebra's scratching post, its steered spot of sharp sight and what moves around it.

import {el} from "../dom.js";
import {evidenceLine} from "../eyes/evidence.js";
import {PERSON} from "../eyes/eyes.js";
import {HOURS} from "../settings.js";
import {t} from "../text.js";
import {EYE_CM, createPost} from "./post.js";
import {createSpiderEyes} from "./spider_eyes.js";
import {zebraVisits} from "./visits.js";

const VIEW_DEGREES = 44;
const STEP_RADIANS = 0.06;
const FASTEST_RADIANS = 2.4;
const WANDER_AFTER_S = 7;
const FRAME_GOAL_S = 0.09;
const SPIDER_EYE = {
  name: "Salticidae",
  acuity: 5.45,
  cones: [{peak_nm: 370}, {peak_nm: 532}, {peak_nm: 600}],
  rods: {peak_nm: 530},
  field: {horizontal_deg: 350, binocular_deg: 5, vertical_deg: 150},
  sensitivity: 0.2,
};

function mountSpider(app, stage) {
  const {renderer, eyes} = app.three();
  const {settings} = app;
  const canvas = renderer.domElement;
  const eye = app.data.sight?.Salticidae || SPIDER_EYE;
  const person = app.data.sight?.["Homo sapiens"] || PERSON;
  const post = createPost(settings.reducedMotion);
  const spiderEyes = createSpiderEyes(renderer);
  const camera = new THREE.PerspectiveCamera(VIEW_DEGREES, 1, 0.03, 90000);
  const outside = new THREE.PerspectiveCamera(40, 1, 0.05, 90000);
  const gaze = {yaw: 0, pitch: 0};
  const aim = {yaw: 0.1, pitch: 0.05};
  let visit = zebraVisits(null, settings.reducedMotion);
  let begin = 0;
  let time = 0;
  let touched = -Infinity;
  let isOutside = false;
  let ratio = Math.min(1, window.devicePixelRatio || 1);
  let slow = 0;
  let [width, height] = [1, 1];
  let alive = true;

  const hint = el("p", {class: "spider-hint", text: t("spider.hint", signs())});
  const line = el("p", {class: "eye-line"});
  const swap = el("button", {type: "button", class: "eye-chip", on: {click: () => toggle()}});
  const bar = el("div", {class: "eye-bar"},
    el("div", {class: "eye-controls"}, el("div", {class: "eye-row"}, swap, hint), line));

  const label = () => {
    swap.textContent = t(isOutside ? "spider.swap.eyes" : "spider.swap.person");
    hint.textContent = t(isOutside ? "spider.hint.person" : "spider.hint", signs());
    line.textContent = isOutside ? t("spider.person.line") : `${t("spider.line")} ${evidenceText(eye)}`;
  };
  const toggle = () => {
    isOutside = !isOutside;
    spiderEyes.clear();
    label();
    app.announce(hint.textContent);
  };
  const limits = () => ({
    yaw: Math.atan(Math.tan((VIEW_DEGREES * Math.PI) / 360) * camera.aspect) * 0.9,
    pitch: ((VIEW_DEGREES * Math.PI) / 360) * 0.86,
  });
  const aimAt = (yaw, pitch) => {
    const most = limits();
    aim.yaw = Math.max(-most.yaw, Math.min(most.yaw, yaw));
    aim.pitch = Math.max(-most.pitch, Math.min(most.pitch, pitch));
  };
  const point = (event) => {
    if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    const tangent = Math.tan((VIEW_DEGREES * Math.PI) / 360);
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = 1 - (2 * (event.clientY - box.top)) / box.height;
    const yaw = Math.atan(x * tangent * camera.aspect);
    aimAt(yaw, Math.atan(y * tangent * Math.cos(yaw)));
    touched = time;
  };
  /** Aim at a point of the place, as the secondary eyes make the spider do at what moves. */
  const aimAtPoint = (target) => {
    const away = target.clone().sub(camera.position).applyQuaternion(camera.quaternion.clone().invert());
    aimAt(Math.atan2(away.x, -away.z), Math.atan2(away.y, Math.hypot(away.x, away.z)));
  };
  let turnTo = 0;
  const turnToMoving = () => {
    const goals = [...post.flies.map((fly) => fly.position), new THREE.Vector3(100 * post.now.aside, 6, -100 * post.now.ahead + 25)];
    aimAtPoint(goals[turnTo % goals.length]);
    turnTo += 1;
  };

  const resize = (w, h) => {
    [width, height] = [Math.max(w, 1), Math.max(h, 1)];
    eyes.setSize(width, height, ratio);
    spiderEyes.setSize(width, height, ratio);
    camera.aspect = outside.aspect = width / height;
    camera.updateProjectionMatrix();
    outside.fov = width < height ? 62 : 40;
    outside.updateProjectionMatrix();
  };

  canvas.style.touchAction = "none";
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  stage.append(canvas, bar);
  label();
  camera.position.set(0, EYE_CM, -0.1);
  camera.lookAt(0, EYE_CM + 0.55, -10);
  camera.updateMatrixWorld();
  let sun = HOURS[1].sun;
  let request = 0;
  const openVisits = async (hour) => {
    request += 1;
    const mine = request;
    const number = app.data.sceneAt ? app.data.sceneAt(settings.branch, hour) : -1;
    const track = number < 0 ? null : await app.data.openScene(number);
    // Another scene may have been asked for meanwhile.
    if (mine === request) visit = zebraVisits(track, settings.reducedMotion);
  };
  const listen = () => {
    const now = HOURS.find((one) => one.id === settings.hour) || HOURS[1];
    sun = now.sun;
    post.setSun(sun);
    // Without a scene, the made-up visits go on.
    openVisits(now.hour).catch(console.warn);
  };
  const quiet = ["hour", "branch"].map((name) => app.on(name, listen));
  listen();

  return {
    frame(now, dt) {
      if (!alive) return;
      begin = begin || now;
      time = now - begin;
      // Fewer pixels where frames take long; before drawing, since a new size empties the canvas.
      slow = 0.9 * slow + 0.1 * dt;
      if (slow > FRAME_GOAL_S && ratio > 0.5 && time > 2) {
        ratio = Math.max(0.5, ratio - 0.25);
        slow = 0;
        resize(width, height);
      }
      post.now = visit(time);
      post.update(time, post.now);
      if (time - touched > WANDER_AFTER_S && !settings.reducedMotion && Math.floor(time / 3) !== Math.floor((time - dt) / 3)) turnToMoving();
      const most = FASTEST_RADIANS * dt * (settings.reducedMotion ? 0.4 : 1);
      const [dy, dp] = [aim.yaw - gaze.yaw, aim.pitch - gaze.pitch];
      const scale = Math.min(1, most / Math.max(1e-6, Math.hypot(dy, dp)));
      gaze.yaw += dy * scale;
      gaze.pitch += dp * scale;
      post.spider.visible = isOutside;
      if (isOutside) {
        // Around the spider, from its face to its back, before which the zebra stands.
        const around = settings.reducedMotion ? 1.9 : 1.75 + 0.95 * Math.sin(time / 7 - 1.2);
        outside.position.set(3.4 * Math.sin(around), 1.25, -3.4 * Math.cos(around) + 0.2);
        outside.lookAt(-0.1, 0.55, 0.1);
        outside.updateMatrixWorld();
        eyes.render(post.scene, outside, person, sun, {time, still: settings.reducedMotion});
      } else spiderEyes.render(post.scene, camera, gaze, eye, sun, dt, settings.reducedMotion);
    },
    resize,
    action(name) {
      touched = time;
      if (name === "left") aimAt(aim.yaw - STEP_RADIANS, aim.pitch);
      if (name === "right") aimAt(aim.yaw + STEP_RADIANS, aim.pitch);
      if (name === "up") aimAt(aim.yaw, aim.pitch + STEP_RADIANS);
      if (name === "down") aimAt(aim.yaw, aim.pitch - STEP_RADIANS);
      if (name === "select") turnToMoving();
      if (name === "next" || name === "back") toggle();
    },
    dispose() {
      alive = false;
      quiet.forEach((end) => end());
      canvas.removeEventListener("pointermove", point);
      canvas.removeEventListener("pointerdown", point);
      canvas.style.touchAction = "";
      spiderEyes.dispose();
      post.dispose();
    },
  };
}

function signs() {
  return {choose: t("action.select"), next: t("action.next")};
}

function evidenceText(eye) {
  return eye.status ? evidenceLine(eye, false) : "";
}

export const spiderMode = {id: "spider", needsWebGL: true, needsScenes: false, mount: mountSpider};
