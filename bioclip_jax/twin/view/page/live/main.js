// Start of the page that a server gives out: visitors simulate scenarios of their own.

import {startPage} from "../start.js";
import {addLive} from "./live.js";

startPage(addLive);
