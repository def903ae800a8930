// The views of the page, in the order of their buttons; the first is shown first.
//
// A view is {id, needsWebGL, mount(app, stage)}; mount fills the element `stage` and returns {frame(time, dt),
// resize(width, height), action(name), dispose()}. Its title and text are those of mode.ID.title and
// mode.ID.text. Scenes and landscape are decoded when asked for: data.openScene(data.sceneAt(branch, hour))
// and data.openLandscape() are promises. A view that needs 3-D but no scene has needsScenes: false.

import {mapMode} from "./flat/map.js";
import {webMode} from "./flat/web.js";
import {spiderMode} from "./spider/spider.js";
import {herdMode} from "./world/herd_mode.js";
import {lionMode} from "./world/lion_mode.js";
import {worldMode} from "./world/world_mode.js";

export const modes = [mapMode, webMode, worldMode, herdMode, lionMode, spiderMode];
