// Importing this makes the chip known: `node --import vexil-toy-chip/register program.mjs`.

import { registerChip } from "vexil/runtime";
import { entry } from "./index.js";

registerChip(entry);
