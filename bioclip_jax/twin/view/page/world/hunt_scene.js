// What a scene has to show: its hunt (who, whom, and when the herd fled), and its largest herd.

const BOLT = ["alarm", "chase", "escape"];
/** Meters within which animals belong to one herd. */
const HERD_M = 40;
/** Directions from which a camera may look, and half of the angle that it sees. */
const SIDES = 16;
const SEEN_RADIANS = 0.5;

/** Return {zebra, lion, stalk, flight} of a track: indices, and times in seconds (null where there is none). */
export function huntOf(track) {
  const index = (id) => track.animals.findIndex((one) => one.id === id);
  const is = (at, pattern) => at >= 0 && pattern.test(track.animals[at].species.name);
  const hunts = track.events.filter((event) => event.kind === "stalk" || event.kind === "chase");
  const best = hunts.find((event) => is(index(event.actor), /^Panthera leo/) && is(index(event.target), /^Equus/))
    || hunts.find((event) => is(index(event.actor), /^Panthera leo/)) || hunts[0];
  const lion = best ? index(best.actor) : track.animals.findIndex((one) => /^Panthera|^Crocuta|^Acinonyx/.test(one.species.name));
  const victim = best ? index(best.target) : -1;
  const flight = best && track.events.find((event) => BOLT.includes(event.kind) && event.time >= best.time);
  return {zebra: witness(track, victim, lion, best ? best.time : 0), lion, victim, stalk: best ? best.time : null, flight: flight ? flight.time : null};
}

/** Return the zebra through whose eyes to look: near the hunted animal, and one that survives the scene. */
function witness(track, victim, lion, time) {
  const wanted = victim >= 0 ? track.animals[victim].species : null;
  const out = {x: 0, y: 0, heading: 0, speed: 0, state: 0};
  const here = victim >= 0 ? {...track.sample(victim, time, out)} : {x: track.extent / 2, y: track.extent / 2};
  let [best, least] = [-1, Infinity];
  track.animals.forEach((animal, index) => {
    const zebra = /^Equus/.test(animal.species.name);
    if (index === lion || animal.size < 0.8) return;
    track.sample(index, track.duration, out);
    if (out.state === 0 || out.state === 8) return;
    track.sample(index, time, out);
    const distance = Math.hypot(out.x - here.x, out.y - here.y) + (zebra ? 0 : animal.species === wanted ? 400 : 2000);
    if (out.state && out.state !== 9 && distance < least) [best, least] = [index, distance];
  });
  return best;
}

/** Return the distance in meters between two animals of a track at a time. */
export function distanceBetween(track, first, second, time) {
  const a = track.sample(first, time, {x: 0, y: 0, heading: 0, speed: 0, state: 0});
  const b = track.sample(second, time, {x: 0, y: 0, heading: 0, speed: 0, state: 0});
  return Math.hypot(a.x - b.x, a.y - b.y);
}

/**
 * Return {index, turn} at a time: the animal, a zebra if there are any, that most others of its kind surround, and the
 * direction from it (radians from +x toward +z) of a camera at `distance` meters that sees most animals behind it.
 */
export function middleOfHerd(track, time, distance) {
  const there = track.animals.map((animal, index) => ({animal, index, ...track.sample(index, time, {})}))
    .filter(({state}) => state !== 0 && state < 8);
  const zebras = there.filter(({animal}) => /^Equus/.test(animal.species.name));
  let [best, most] = [null, -1];
  for (const one of zebras.length ? zebras : there) {
    const near = there.filter(({animal, x, y}) => animal.species === one.animal.species && Math.hypot(x - one.x, y - one.y) < HERD_M);
    if (near.length > most) [best, most] = [one, near.length];
  }
  if (!best) return {index: -1, turn: 0};
  let [turn, seen] = [0, -1];
  for (let side = 0; side < SIDES; side += 1) {
    const angle = (2 * Math.PI * side) / SIDES;
    const [lookX, lookY] = [-Math.cos(angle), Math.sin(angle)];
    // Near animals count for more, and none that would hide the one that is followed.
    const sum = there.reduce((total, {x, y}) => {
      const [dx, dy] = [x - best.x, y - best.y];
      const ahead = dx * lookX + dy * lookY + distance;
      const aside = Math.abs(dx * lookY - dy * lookX);
      if (ahead < 0.9 * distance || Math.atan2(aside, ahead) > SEEN_RADIANS) return total;
      return total + 1 / (1 + ahead / HERD_M);
    }, 0);
    if (sum > seen) [turn, seen] = [angle, sum];
  }
  return {index: best.index, turn};
}
