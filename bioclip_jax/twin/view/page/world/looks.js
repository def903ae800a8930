// The look of each species: plan, coat, size; chosen by genus, else family, order, class.
import {birdPlan, buildBird, vulturePlan} from "./birds.js";
import {COATS} from "./coats.js";
import {buffaloPlan, elephantPlan, warthogPlan} from "./plans_heavy.js";
import {gazellePlan, giraffePlan, wildebeestPlan, zebraPlan} from "./plans_hoofed.js";
import {hyenaPlan, jackalPlan, lionPlan} from "./plans_hunters.js";
import {createRig} from "./rig.js";

/** Behavior of plans: how the neck bends down (neck, nape, head), how a stalking neck falls, how far the back flexes. */
Object.assign(zebraPlan, {grazeShares: [-1.25, -0.4, 0.75], alert: 0.12});
Object.assign(wildebeestPlan, {grazeShares: [-0.8, -0.3, 0.35], alert: 0.28});
Object.assign(gazellePlan, {grazeShares: [-1.35, -0.5, 0.7], alert: 0.08});
Object.assign(giraffePlan, {grazeShares: [-0.32, -0.12, 0.25], browse: 1.0, alert: 0.04});
Object.assign(elephantPlan, {sleepsStanding: true, grazeShares: [-0.16, -0.05, 0.1], browse: 0.4, alert: 0.05});
Object.assign(buffaloPlan, {grazeShares: [-0.7, -0.3, 0.3], alert: 0.2});
Object.assign(warthogPlan, {grazeShares: [-0.35, -0.15, 0.1], alert: 0.12, tailRun: -2.6});
Object.assign(lionPlan, {grazeShares: [-0.75, -0.3, 0.1], alert: 0.12, flex: 0.2, stretched: true, crouch: 0.12, stalkNeck: -0.3});
Object.assign(hyenaPlan, {grazeShares: [-0.9, -0.35, 0.15], alert: 0.05, flex: 0.13, stretched: true, crouch: 0.05, stalkNeck: -0.45});
Object.assign(jackalPlan, {grazeShares: [-0.95, -0.4, 0.2], alert: 0.08, flex: 0.16, stretched: true, crouch: 0.06});

/** Return a plan with wider or narrower body, and a smaller or larger head. */
function reshaped(plan, {width = 1, head = 1, horns = 1, tail = 1}) {
  const [hx, hy] = plan.pivots[4];
  const about = ([x, y]) => [hx + (x - hx) * head, hy + (y - hy) * head];
  const torso = plan.torso.map(([tx, ty, bx, by, w, place]) => {
    const share = Math.min(1, Math.max(0, place - 3));
    const mix = (value, target) => value + (target - value) * share;
    const [t, b] = [about([tx, ty]), about([bx, by])];
    return [mix(tx, t[0]), mix(ty, t[1]), mix(bx, b[0]), mix(by, b[1]), w * mix(width, head), place];
  });
  const point = ([x, y, z, ...rest]) => [...about([x, y]), z * head, ...rest];
  const leg = ({joints, sections, z}) => ({
    joints, z: z * width, sections: sections.map(([x, y, depth, w, place]) => [x, y, depth * (0.5 + 0.5 * width), w * width, place]),
  });
  const changed = {...plan, torso, fore: leg(plan.fore), hind: leg(plan.hind)};
  if (plan.ears) changed.ears = {...plan.ears, at: point(plan.ears.at), tip: point(plan.ears.tip), radius: plan.ears.radius * head};
  if (plan.eye) changed.eye = {at: point(plan.eye.at), radius: plan.eye.radius * head};
  if (plan.horns) changed.horns = horns ? {points: plan.horns.points.map(([x, y, z, r]) => [x, hy + (y - hy) * horns, z, r])} : undefined;
  changed.tail = {points: plan.tail.points.map(([x, y, r], index) => (index ? [x, y, r * tail] : [x, y, r]))};
  return changed;
}

/** Looks: plan, coat, shoulder height of an adult female in meters (typical figures of field guides, assumed), gait. */
const TABLE = {
  zebra: [() => zebraPlan, "zebra", 1.3],
  wildebeest: [() => wildebeestPlan, "wildebeest", 1.3],
  thomson: [() => reshaped(gazellePlan, {horns: 0.8}), "thomson", 0.64],
  grant: [() => reshaped(gazellePlan, {horns: 1.35}), "grant", 0.88],
  impala: [() => reshaped(gazellePlan, {horns: 1.4, width: 1.02}), "impala", 0.9],
  dikdik: [() => reshaped(gazellePlan, {horns: 0.35, head: 1.12}), "dikdik", 0.38],
  giraffe: [() => giraffePlan, "giraffe", 2.8, "pace"],
  elephant: [() => elephantPlan, "elephant", 2.6, "amble"],
  buffalo: [() => buffaloPlan, "buffalo", 1.5],
  warthog: [() => warthogPlan, "warthog", 0.68],
  lion: [() => lionPlan, "lion", 1.05],
  cheetah: [() => reshaped(lionPlan, {width: 0.72, head: 0.68, tail: 0.8}), "cheetah", 0.8],
  leopard: [() => reshaped(lionPlan, {width: 0.92, head: 0.88}), "leopard", 0.65],
  serval: [() => reshaped(lionPlan, {width: 0.74, head: 0.72}), "serval", 0.57],
  hyena: [() => hyenaPlan, "hyena", 0.82],
  jackal: [() => jackalPlan, "jackal", 0.41],
  vulture: [() => vulturePlan, "vulture", 0.75],
  bird: [() => birdPlan, "bird", 0.45],
};

const GENERA = {
  Equus: "zebra", Connochaetes: "wildebeest", Alcelaphus: "wildebeest", Damaliscus: "wildebeest", Eudorcas: "thomson",
  Gazella: "thomson", Nanger: "grant", Aepyceros: "impala", Tragelaphus: "impala", Taurotragus: "buffalo", Kobus: "impala",
  Madoqua: "dikdik", Giraffa: "giraffe", Loxodonta: "elephant", Syncerus: "buffalo", Phacochoerus: "warthog",
  Potamochoerus: "warthog", Panthera: "lion", Acinonyx: "cheetah", Leptailurus: "serval", Crocuta: "hyena", Hyaena: "hyena",
  Canis: "jackal", Lupulella: "jackal", Lycaon: "jackal", Gyps: "vulture", Torgos: "vulture", Trigonoceps: "vulture",
  Necrosyrtes: "vulture",
};
const FAMILIES = {
  Equidae: "zebra", Bovidae: "impala", Antilocapridae: "grant", Cervidae: "impala", Giraffidae: "giraffe", Suidae: "warthog",
  Elephantidae: "elephant", Felidae: "leopard", Hyaenidae: "hyena", Canidae: "jackal", Accipitridae: "vulture",
  Rhinocerotidae: "buffalo", Hippopotamidae: "buffalo",
};
const ORDERS = {
  Artiodactyla: "impala", Perissodactyla: "zebra", Proboscidea: "elephant", Carnivora: "jackal", Accipitriformes: "vulture",
};
const SPECIES = {"Panthera pardus": "leopard"};
const SINGLE_COATS = new Map();

/** Return the name of the look of a species {name, genus, family, order, class}. */
export function bodyPlan(species) {
  const genus = species.genus || String(species.name).split(" ")[0];
  const name = SPECIES[species.name] || GENERA[genus] || FAMILIES[species.family] || ORDERS[species.order];
  if (name) return name;
  return species.class === "Aves" ? "bird" : "jackal";
}

/** Return the look of a name in TABLE: {name, plan, coat, height, gait, rig}; made once. */
export function lookOf(name) {
  if (!SINGLE_COATS.has(name)) {
    const [plan, coat, height, gait = "trot"] = TABLE[name];
    const look = {name, plan: plan(), coat: COATS[coat], height, gait};
    look.rig = createRig(look.plan);
    if (look.plan.wings) look.build = (detail) => buildBird(look.plan, detail);
    SINGLE_COATS.set(name, look);
  }
  return SINGLE_COATS.get(name);
}

/** Names of all looks. */
export const LOOK_NAMES = Object.keys(TABLE);
