// The light by the sun's height: how far rods take over from cones, how fine an eye still sees, and its noise.

// Decimal logarithm of the illuminance of level ground in lux by the sun's elevation in degrees: clear sky, and at night
// a moon that gives 0.1 lux. Rounded textbook figures.
const ILLUMINANCE = [[-12, -1], [-6, 0.5], [0, 2.6], [5, 3.6], [20, 4.4], [60, 5]];
const GROUND_REFLECTANCE = 0.2;
// Cones and rods work together between these luminances, in cd/m2 (CIE 191:2010), and cones alone above.
const LEAST_MESOPIC = 0.005;
const MOST_MESOPIC = 5;
// Distances in m at which large carnivores resolve a zebra's stripes by day, at dusk and on a moonless night
// (Melin et al. 2016, PLoS ONE 11:e0145679, abstract), as shares of the day's: taken for every eye, so inferred.
const DETAIL_IN_LIGHT = {day: 1, dusk: 30 / 50, night: 9 / 50};
const NIGHT_GAIN = 0.95;
const MOONLIGHT_NOISE = 0.06;

/** Return the decimal logarithm of level ground's luminance in cd/m2 for the sun's elevation in degrees. */
export function logLuminance(elevation) {
  const last = ILLUMINANCE.length - 1;
  if (elevation <= ILLUMINANCE[0][0]) return groundLog(ILLUMINANCE[0][1]);
  if (elevation >= ILLUMINANCE[last][0]) return groundLog(ILLUMINANCE[last][1]);
  const above = ILLUMINANCE.findIndex(([height]) => height > elevation);
  const [low, high] = [ILLUMINANCE[above - 1], ILLUMINANCE[above]];
  return groundLog(low[1] + ((high[1] - low[1]) * (elevation - low[0])) / (high[0] - low[0]));
}

function groundLog(logLux) {
  return logLux + Math.log10(GROUND_REFLECTANCE / Math.PI);
}

/**
 * Return how an eye works in the light of a sun {elevation}: {cones: share of cones in what is seen, 1 by day, 0 at
 * night; detail: factor of acuity; gain: of brightness on the screen; noise: standard deviation of photon noise where
 * brightness is 1}. Noise falls with the square root of the light that is caught (Poisson). The screen's gain at night
 * is the root of the eye's sensitivity: no screen shows what a dark-adapted eye meets.
 */
export function adaptation(eye, sun) {
  const luminance = logLuminance(sun.elevation);
  const span = Math.log10(MOST_MESOPIC) - Math.log10(LEAST_MESOPIC);
  const cones = Math.min(1, Math.max(0, (luminance - Math.log10(LEAST_MESOPIC)) / span));
  const detail =
    cones > 0.5
      ? DETAIL_IN_LIGHT.dusk + (DETAIL_IN_LIGHT.day - DETAIL_IN_LIGHT.dusk) * (2 * cones - 1)
      : DETAIL_IN_LIGHT.night + (DETAIL_IN_LIGHT.dusk - DETAIL_IN_LIGHT.night) * 2 * cones;
  const caught = 10 ** (luminance - logLuminance(-90)) * eye.sensitivity;
  const night = NIGHT_GAIN * Math.sqrt(eye.sensitivity);
  return {cones, detail, gain: cones + (1 - cones) * night, noise: MOONLIGHT_NOISE / Math.sqrt(caught)};
}
