// SPDX-License-Identifier: MIT
/**
 * What devices of a guest may be made with, as far as it names something of the host: a module, a ROM, the other end of a
 * chardev.
 *
 * The layout of a state file and a saved state say how each device is made, and the next process makes them again, as
 * root. But they come from a process that its guest may have taken over. So whoever asks for a device with such names, the
 * configuration or `ioreqd device add`, has them written down in a file that is root's; and nothing is opened that only
 * the layout names.
 */

import { closeSync, constants, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import type { DeviceRequest } from "../pci/plan.js";
import type { DeviceRecipe } from "../state/layout.js";
import { anchoredDevice, isPath } from "./device-spec.js";

/** These name no files. */
const PLACES = new Set(["addr", "bus", "id"]);

/** Names of the host in a recipe: "device=/etc/ioreqd/card.ts", "chardev=file:/var/log/line". */
function namesIn({ device, options }: DeviceRecipe): string[] {
  const names = Object.entries(options).filter(
    ([key, value]) => !PLACES.has(key) && (key === "romfile" || /[./:]/.test(String(value))),
  );
  return [
    ...(isPath(device) ? [`device=${anchoredDevice(device)}`] : []),
    ...names.map(([key, value]) => `${key}=${key === "romfile" ? resolve(String(value)) : value}`),
  ];
}

export class Grants {
  /** `path`: a file that only root can write, in a directory of which the same is true. */
  constructor(readonly path: string) {}

  /** Of what was asked for until now nothing holds: it was for a former domain of that number. Throws STATE_FAILED. */
  revoke(): void {
    this.#writing(() => rmSync(this.path, { force: true }));
  }

  /** Write down what these name, beside what is granted already. Throws STATE_FAILED. */
  add(recipes: readonly DeviceRecipe[]): void {
    const named = recipes.flatMap(namesIn);
    // Most devices name nothing.
    if (named.length === 0) return;
    this.#writing(() => {
      const known = this.#known();
      this.#append([...new Set(named)].filter((name) => !known.has(name)));
    });
  }

  /** What the file system refuses is the operator's to mend. */
  #writing(act: () => void): void {
    try {
      act();
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      const message = `${this.path}, which has what devices may be made with, can't be written: ${messageOf(error)}`;
      throw new IoreqdError("STATE_FAILED", message, { path: this.path, errno }, { cause: error });
    }
  }

  #append(names: readonly string[]): void {
    if (names.length === 0) return;
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
    const fd = openSync(this.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      // In one call: two who write do not mix.
      writeSync(fd, names.map((name) => `${JSON.stringify(name)}\n`).join(""));
    } finally {
      closeSync(fd);
    }
  }

  /** See checked(). */
  check(recipes: readonly DeviceRecipe[], configured: () => readonly DeviceRecipe[]): readonly DeviceRecipe[] {
    return checked(recipes, this.#known(), configured);
  }

  #known(): Set<string> {
    try {
      return new Set(
        readFileSync(this.path, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as string),
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Set();
      throw error;
    }
  }
}

/**
 * The same recipes, where all names in them are granted or in what the configuration asks for now. Throws
 * DEVICE_NOT_GRANTED, before anything is opened.
 */
export function checked(
  recipes: readonly DeviceRecipe[],
  granted: ReadonlySet<string>,
  configured: () => readonly DeviceRecipe[],
): readonly DeviceRecipe[] {
  const others = recipes.flatMap(namesIn).filter((name) => !granted.has(name));
  if (others.length === 0) return recipes;
  const known = new Set(configured().flatMap(namesIn));
  const name = others.find((other) => !known.has(other));
  if (name === undefined) return recipes;
  throw new IoreqdError(
    "DEVICE_NOT_GRANTED",
    `a device of the guest is made with ${name}, says the process that served it before; neither the guest's configuration nor ioreqd device add has asked for that. ` +
      "Nothing was opened. If it is right, name such a device in the guest's configuration; if it is not, the guest has taken over that process",
    { name },
  );
}

/** How devices can be made again. */
export const recipesOf = (requests: readonly DeviceRequest[]): DeviceRecipe[] =>
  requests.flatMap(({ spec }) => (spec === undefined ? [] : [spec]));

/** What the configuration asks for: nothing, where it makes no sense any more. */
export function recipesIn(devices: () => readonly DeviceRequest[]): DeviceRecipe[] {
  try {
    return recipesOf(devices());
  } catch {
    return [];
  }
}
