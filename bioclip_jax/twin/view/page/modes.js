// The views of the page, in the order of their buttons; the first is shown first.

import {mapMode} from "./flat/map.js";
import {webMode} from "./flat/web.js";

export const modes = [mapMode, webMode];
