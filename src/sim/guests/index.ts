// SPDX-License-Identifier: MIT
/** The guest programs that come with ioreqd, and finding the one a user names. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { IoreqdError } from "../../base/errors.js";
import { ownFile } from "../../base/place.js";
import { didYouMean } from "../../base/suggest.js";

export interface GuestProgramFile {
  /** As the user named it. */
  readonly name: string;
  readonly file: string;
  readonly language: "js" | "c";
}

/** What `--guest NAME` may be, and what each does. */
export const builtinGuests: Readonly<Record<string, string>> = {
  demo: "finds the demonstration devices, and uses each of them",
  idle: "does nothing until it is stopped",
};

/** A built-in program by its name, or a .ts, .js or .so file. Throws GUEST_NOT_FOUND. */
export function findGuest(name: string): GuestProgramFile {
  if (Object.hasOwn(builtinGuests, name)) return { name, file: ownFile(`sim/guests/${name}.js`), language: "js" };
  const file = resolve(name);
  if (existsSync(file)) return { name, file, language: /\.so(\.|$)/.test(file) ? "c" : "js" };
  const names = Object.keys(builtinGuests);
  throw new IoreqdError(
    "GUEST_NOT_FOUND",
    `guest program ${name}: there is no such file, and the built-in ones are ${names.join(", ")}${didYouMean(name, names)}`,
    { name, file },
  );
}
