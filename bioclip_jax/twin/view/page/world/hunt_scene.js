// The hunt of a scene, for the views through the eyes of hunter and hunted: who, whom, and when the herd fled.

const BOLT = ["alarm", "chase", "escape"];

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
