// Aquila2 (BAAI, 2023): Llama's blocks under a name of its own; 34B shares key heads.

import { llama } from "./llama.js";
import type { Family } from "../family.js";

export const aquila: Family = { ...llama, type: "aquila", architecture: "AquilaForCausalLM" };
