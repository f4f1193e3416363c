// Makes handler.wasm of handler.js: node build.mjs [wit folder] [output file]
//
// By the API of componentize-js, because the command line of jco pins an older and slower one.

import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath = "../../../wit", output = "handler.wasm"] = process.argv.slice(2);

// Clocks, random numbers and output stay: without them time stands still and errors are silent.
const { component } = await componentize({
  sourcePath: "handler.js",
  witPath,
  worldName: "plugin",
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(output, component);
