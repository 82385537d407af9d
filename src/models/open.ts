// A model by its path: a Hugging Face folder or a GGUF file.

import { openFolder, type ModelFolder } from "./folder.js";
import { openGguf } from "./gguf/load.js";

/** @throws errors that name the folder or file */
export const openModel = (path: string): ModelFolder =>
  path.toLowerCase().endsWith(".gguf") ? openGguf(path) : openFolder(path);
