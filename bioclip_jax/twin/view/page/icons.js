// Signs of the buttons.

import {svg} from "./dom.js";

const ICON_SHAPES = {
  dawn: ["M4 24h24M9 28h14", "M9 24a7 7 0 0 1 14 0", "M16 11V7M7 15l-2.500-2.500M25 15l2.500-2.500M16 7l-3 3M16 7l3 3"],
  noon: ["M16 10a6 6 0 1 1 0 12a6 6 0 1 1 0-12", "M16 3v3M16 26v3M3 16h3M26 16h3M6.800 6.800l2 2M23.200 23.200l2 2M25.200 6.800l-2 2M8.800 23.200l-2 2"],
  dusk: ["M4 24h24M9 28h14", "M9 24a7 7 0 0 1 14 0", "M16 7v5M16 12l-3-3M16 12l3-3M7 15l-2-2M25 15l2-2"],
  night: ["M25 19.500A10.500 10.500 0 1 1 13 5.500a8.500 8.500 0 0 0 12 14z", "M23 6v4M21 8h4"],
  language: ["M16 4a12 12 0 1 1 0 24a12 12 0 1 1 0-24", "M4 16h24M16 4c-7 7-7 17 0 24M16 4c7 7 7 17 0 24"],
  kiosk: ["M5 12V5h7M20 5h7v7M27 20v7h-7M12 27H5v-7"],
  about: ["M16 4a12 12 0 1 1 0 24a12 12 0 1 1 0-24", "M16 15v7M16 10v.2"],
  map: ["M4 9l8-4 8 4 8-4v18l-8 4-8-4-8 4z", "M12 5v18", "M20 9v18"],
  web: ["M16 7L7 24M16 7l9 17M7 24h18M16 7v17", "M16 4a3 3 0 1 1 0 6a3 3 0 1 1 0-6M7 21a3 3 0 1 1 0 6a3 3 0 1 1 0-6M25 21a3 3 0 1 1 0 6a3 3 0 1 1 0-6"],
  world: ["M3 25h26", "M3 25c5-9 10-9 14-3c4-6 8-5 12 3", "M22 6a3 3 0 1 1 0 6a3 3 0 1 1 0-6"],
  herd: ["M3 16c6-9 20-9 26 0c-6 9-20 9-26 0z", "M16 11a5 5 0 1 1 0 10a5 5 0 1 1 0-10", "M16 12v8"],
  lion: ["M16 9a7 7 0 1 1 0 14a7 7 0 1 1 0-14", "M16 4v3M16 25v3M4 16h3M25 16h3M7.5 7.5l2 2M22.500 22.500l2 2M24.500 7.500l-2 2M9.500 22.500l-2 2"],
  spider: ["M16 12a5 5 0 1 1 0 10a5 5 0 1 1 0-10", "M12 14L5 9M11 17H4M12 20l-7 5M20 14l7-5M21 17h7M20 20l7 5"],
};

// Returns the sign of a view or setting.
export function icon(id) {
  const shapes = ICON_SHAPES[id] ?? ICON_SHAPES.map;
  return svg("svg", {viewBox: "0 0 32 32", class: "icon", "aria-hidden": true},
    ...shapes.map((d) => svg("path", {d})));
}
