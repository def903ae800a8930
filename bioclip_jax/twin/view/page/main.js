// Start of the page as a file.

import {startPage} from "./start.js";

startPage();
