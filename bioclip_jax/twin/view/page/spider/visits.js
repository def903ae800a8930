// The visits of a zebra to the spider's post, from the tracks of a scene.

const CLOSE_M = 0.36;
const CAPTURE_M = 6;
const BODY_HALF_WIDTH_M = 0.3;
const SAMPLE_S = 1;
// The view begins so long before the zebra stands at the post.
const LEAD_TO_STOP_S = 7;
// Without tracks, a zebra comes and goes in this time.
const MADE_UP_S = 60;
const BREATHS_PER_S = 0.2;

/**
 * Return a function of time in s to where the zebra nearest to the post is, seen from the spider, in meters:
 * {ahead: from the post to its flank's middle, aside, turn: of its heading from side-on in radians, moving: speed in m/s,
 * rub: 0 to 1 where it stands against the post, breath: -1 to 1}. `still` (reduced motion) calms rubbing and breath.
 *
 * The post is put beside the path of the zebra that stands still for longest after walking; so that its visit shows.
 * That it rubs while it stands there, and how it breathes, is made up.
 */
export function zebraVisits(track, still) {
  const sample = track ? trackVisits(track) : madeUpVisits;
  return (time) => {
    const visit = sample(time);
    const rub = visit.rub * (still ? 0.3 : 1);
    const sway = rub * Math.sin(2 * Math.PI * 0.45 * time);
    return {
      ...visit,
      aside: visit.aside + 0.05 * sway,
      ahead: visit.ahead + 0.012 * rub * Math.sin(2 * Math.PI * 0.9 * time + 1),
      breath: (still ? 0.4 : 1) * Math.sin(2 * Math.PI * BREATHS_PER_S * time),
    };
  };
}

function madeUpVisits(time) {
  const at = (time % MADE_UP_S) / MADE_UP_S;
  const [aside, moving] =
    at < 0.125 ? [-4.5 + 36 * at, 0.6] : at < 0.75 ? [0.15 * Math.sin(12 * at), 0] : [36 * (at - 0.75), 0.6];
  return {ahead: CLOSE_M + 0.25 * Math.abs(aside), aside, turn: 0, moving, rub: moving ? 0 : 1};
}

function trackVisits(track) {
  const zebras = track.animals.map((animal, index) => ({animal, index})).filter(({animal}) => isZebra(animal));
  const best = zebras.map(({index}) => longestStop(track, index)).sort((a, b) => b.seconds - a.seconds)[0];
  if (!best || best.seconds === 0) return madeUpVisits;
  const out = {};
  const {x, y, heading} = best;
  const first = Math.max(0, best.time - LEAD_TO_STOP_S);
  // The spider looks at the zebra's side: ahead is to the left of the zebra's heading, seen from the zebra to the post.
  const post = {x: x - Math.sin(heading) * CLOSE_M, y: y + Math.cos(heading) * CLOSE_M};
  const toward = {x: Math.sin(heading), y: -Math.cos(heading)};
  const aside = {x: Math.cos(heading), y: Math.sin(heading)};
  return (time) => {
    const at = (first + time) % track.duration;
    let nearest = null;
    for (const {index} of zebras) {
      track.sample(index, at, out);
      if (!out.state || out.state === 8) continue;
      const away = Math.hypot(out.x - post.x, out.y - post.y);
      if (!nearest || away < nearest.away) nearest = {away, ...out};
    }
    if (!nearest) return {ahead: 60, aside: 0, turn: 0, moving: 0, rub: 0};
    const [dx, dy] = [nearest.x - post.x, nearest.y - post.y];
    const ahead = dx * toward.x + dy * toward.y;
    const side = dx * aside.x + dy * aside.y;
    const close = Math.max(0, 1 - nearest.away / CAPTURE_M);
    const turn = Math.atan2(Math.sin(nearest.heading - heading), Math.cos(nearest.heading - heading));
    // Bodies do not pass through the post, whatever side of it their tracks go.
    const clear = BODY_HALF_WIDTH_M + 0.06 + Math.abs(Math.sin(turn)) * 0.7 * close;
    return {
      ahead: Math.max(Math.abs(ahead), clear),
      aside: side,
      // The picture is mirrored: the head of a zebra beside the post is on the right.
      turn: -turn * (1 - close * close),
      moving: nearest.speed,
      rub: nearest.away < 1.2 && nearest.speed < 0.3 ? Math.min(1, 2 - nearest.away / 0.6) : 0,
    };
  };
}

function isZebra(animal) {
  return /^Equus /.test(animal.species.name);
}

/** Return the longest stop of an animal that walked to it: {seconds, time, x, y, heading}. */
function longestStop(track, index) {
  const out = {};
  let best = {seconds: 0};
  let run = null;
  let walked = 0;
  for (let time = 0; time <= track.duration; time += SAMPLE_S) {
    track.sample(index, time, out);
    if (out.state && out.speed < 0.25) {
      run = run || {seconds: 0, time, x: out.x, y: out.y, heading: out.heading, walked};
      run.seconds += SAMPLE_S;
      // Stops of the first and last seconds have no coming or going.
      if (run.walked > 2 && run.seconds > best.seconds && run.seconds < 0.6 * track.duration) best = {...run};
    } else {
      run = null;
      walked += out.state ? out.speed * SAMPLE_S : 0;
    }
  }
  return best;
}
