// SPDX-License-Identifier: MIT
/**
 * Settings from files: /etc/ioreqd/ioreqd.conf holds for every guest, and
 * /etc/ioreqd/guests/NAME.conf for the guest of that name.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { IoreqdError } from "../base/errors.js";
import type { Config } from "./config.js";
import type { DeviceSpec } from "./device-spec.js";

export const DEFAULT_CONFIG_DIR = "/etc/ioreqd";
const EXTENSIONS = [".conf", ".json"];

/** IOREQD_CONFIG_DIR names another place, for tests and for trying things out. */
export const configDirectory = (): string => process.env["IOREQD_CONFIG_DIR"] ?? DEFAULT_CONFIG_DIR;

/** The settings for all guests; empty where there is no such file. Throws CONFIG_UNREADABLE, CONFIG_INVALID. */
export function hostSettings(directory = configDirectory()): Config {
  const path = join(directory, "ioreqd.conf");
  if (!existsSync(path)) return {};
  const { config } = settingsOf(path);
  for (const key of ["domid", "devices"] as const) {
    if (config[key] !== undefined) {
      throw new IoreqdError(
        "CONFIG_INVALID",
        `${path}: ${key} belongs to one guest: it goes into ${join(directory, "guests", "NAME.conf")}`,
        { path },
      );
    }
  }
  return config;
}

/** The file of a guest, or null. Throws CONFIG_AMBIGUOUS where there are two. */
export function guestFile(name: string, directory = configDirectory()): string | null {
  const guests = join(directory, "guests");
  const files = EXTENSIONS.map((extension) => name + extension).filter((file) => existsSync(join(guests, file)));
  if (files.length > 1) {
    throw new IoreqdError("CONFIG_AMBIGUOUS", `${guests} has ${files.join(" and ")} for guest ${name}: keep one`, {
      name,
    });
  }
  return files[0] === undefined ? null : join(guests, files[0]);
}

/** What a guest's own file says; empty where there is none. Throws CONFIG_AMBIGUOUS, CONFIG_UNREADABLE, CONFIG_INVALID. */
export function guestSettings(name: string | null, directory?: string): { config: Config; devices: DeviceSpec[] } {
  const path = name === null ? null : guestFile(name, directory);
  return path === null ? { config: {}, devices: [] } : settingsOf(path);
}

/** The settings of one file, and its devices as specs. Throws CONFIG_UNREADABLE, CONFIG_INVALID. */
export function settingsOf(path: string): { config: Config; devices: DeviceSpec[] } {
  // The schema library takes a while to load: only where there is a file to check.
  const { configDevices, readConfig } = require("./config.js") as typeof import("./config.js");
  const config = readConfig(path);
  return { config, devices: configDevices(path, config) };
}

/** One over the other: what `upper` says wins, key by key, also within `polling` and `log`. */
export function layered(lower: Config, upper: Config): Config {
  return {
    ...lower,
    ...upper,
    polling: { ...lower.polling, ...upper.polling },
    log: { ...lower.log, ...upper.log },
  };
}

/** NO_DEVICES: nothing says what to serve, and this is where it could be said. `name`: of the guest, where it is known. */
export function noDevices(name: string | null): IoreqdError {
  const file = `${configDirectory()}/guests/${name ?? "NAME"}.conf`;
  return new IoreqdError(
    "NO_DEVICES",
    `no device is named: give --device NAME[,key=value…] (in an xl config: device_model_args_hvm = ["-ioreqd", "NAME…"]), or write ${file}; ioreqd devices lists them`,
  );
}
