// The package's version, as the command shows it.

export { VERSION as version } from "../runtime/version.js";
