// SPDX-License-Identifier: MIT
/**
 * `edu,addr=00:10.0,key=value`: from what an operator writes to a device with
 * checked options. Everything wrong is found here, before anything is created.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import { formatSbdf, sbdf as makeSbdf, parseSbdf, type Sbdf } from "../base/ids.js";
import { loadDefault } from "../base/load-module.js";
import { didYouMean } from "../base/suggest.js";
import { parseChardevSpec } from "../chardev/index.js";
import { devices } from "../devices/index.js";
import type { OptionRow, OptionValues, PciDevice } from "../pci/define.js";
import type { DeviceRequest } from "../pci/plan.js";
import type { DeviceRecipe } from "../state/layout.js";

/** Options every device has, beside its own. */
export const COMMON = ["addr", "bus", "id", "multifunction", "romfile", "shadow"] as const;
const ON_OFF = ["on", "off"];
/** Where devices without an addr= go: one slot after the other. */
const FIRST_SLOT = 0x10;
const SLOTS = 32;

/** A device as written, taken apart. */
export interface DeviceSpec {
  /** For messages: "--device edu,foo=1", or "devices[0] of ioreqd.json". */
  readonly where: string;
  /** A name of the list, or a path to a module. */
  readonly device: string;
  readonly options: Readonly<Record<string, string | number>>;
}

/**
 * Take `name,key=value,…` apart. A comma in a value is written twice. `option`: where the text was given.
 * Throws DEVICE_SPEC_INVALID.
 */
export function parseDeviceSpec(text: string, option = "--device"): DeviceSpec {
  const where = `${option} ${text}`;
  const [device = "", ...pairs] = text
    .replaceAll(",,", "\0")
    .split(",")
    .map((part) => part.replaceAll("\0", ","));
  const options: Record<string, string> = {};
  for (const pair of pairs) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (key === undefined || value === undefined) throw invalid(where, `"${pair}" is not key=value`);
    if (key in options) throw invalid(where, `${key} is given twice`);
    options[key] = value;
  }
  if (device === "") throw invalid(where, "no device is named; ioreqd devices lists them");
  return { where, device, options };
}

/** Where a device is that is there already. */
type Placed = Pick<DeviceRequest, "sbdf" | "bus">;

/** Find the devices, check all options, give addresses beside those `present`. Throws DEVICE_UNKNOWN, DEVICE_SPEC_INVALID. */
export function resolveDevices(
  specs: readonly DeviceSpec[],
  present: readonly Placed[] = [],
  find: (spec: DeviceSpec) => PciDevice = findDevice,
): DeviceRequest[] {
  const found: Array<{ spec: DeviceSpec; device: PciDevice; sbdf: Sbdf | null }> = [];
  for (const spec of specs) {
    const device = find(spec);
    checkKeys(spec, device);
    found.push({ spec, device, sbdf: addressOf(spec) });
  }
  const placed = found.flatMap(({ spec, sbdf }) => (sbdf === null ? [] : [slotOf(spec.options, sbdf)]));
  const taken = new Set<string>([...present.map((one) => slotOf(one, one.sbdf)), ...placed]);
  return found.map(({ spec, device, sbdf }): DeviceRequest => {
    const at = sbdf ?? nextFree(taken, spec);
    const { bus, id, romfile } = spec.options;
    return {
      spec: recipeOf(spec, at),
      device,
      sbdf: at,
      options: optionValues(spec, device),
      ...(bus === undefined ? {} : { bus: String(bus) }),
      ...(id === undefined ? {} : { id: idOf(spec, String(id)) }),
      sharesSlot: isOn(spec, "multifunction"),
      shadows: isOn(spec, "shadow"),
      ...(romfile === undefined ? {} : { rom: readRom(spec, String(romfile)) }),
    };
  });
}

/** The same device, wherever it is asked for from. */
function recipeOf({ device, options }: DeviceSpec, at: Sbdf): DeviceRecipe {
  const files = options["romfile"] === undefined ? {} : { romfile: resolve(String(options["romfile"])) };
  return {
    device: anchoredDevice(device),
    options: { ...options, ...files, addr: formatSbdf(at) },
  };
}

/** For the process that takes over. Throws as resolveDevices() does. */
export function resolveAgain(recipes: readonly DeviceRecipe[]): DeviceRequest[] {
  return resolveDevices(recipes.map((recipe) => ({ ...recipe, where: `state file: ${recipe.device}` })));
}

/** A device of a state file again, as its module is now: `loaded` is what that exports. Throws as resolveDevices() does. */
export function resolveAs(recipe: DeviceRecipe, loaded: unknown): DeviceRequest {
  const [request] = resolveDevices([{ ...recipe, where: recipe.device }], [], (spec) => asDevice(spec, loaded));
  return request as DeviceRequest;
}

/** A module of the operator's own, not a name of the list. */
export const isPath = (device: string): boolean => /[./]/.test(device);

/** The same, wherever it is asked for from: the path of a module holds anywhere. */
export const anchoredDevice = (device: string): string => (isPath(device) ? resolve(device) : device);

/** A slot of a bus, as a key. */
const slotOf = ({ bus = "" }: { readonly bus?: string | number }, sbdf: Sbdf): string => `${bus} ${sbdf & ~7}`;

function idOf(spec: DeviceSpec, id: string): string {
  if (/^[a-z0-9][a-z0-9_-]{0,31}$/i.test(id)) return id;
  throw invalid(spec.where, `id is "${id}"; up to 32 letters, digits, - and _ were expected`);
}

/** A device by name, or from a module of the operator's own. */
export function findDevice(spec: DeviceSpec): PciDevice {
  const known = devices.find((device) => device.name === spec.device);
  if (known !== undefined) return known;
  if (!isPath(spec.device)) {
    const names = devices.map((device) => device.name);
    throw new IoreqdError(
      "DEVICE_UNKNOWN",
      `${spec.where}: there is no device "${spec.device}"${didYouMean(spec.device, names)} Known: ${names.join(", ")}; a device of your own is given by its path, ./my-device.ts`,
      { device: spec.device },
    );
  }
  return asDevice(spec, loadDefault(spec.device));
}

function asDevice(spec: DeviceSpec, loaded: unknown): PciDevice {
  const device = loaded as Partial<PciDevice> | null | undefined;
  if (
    typeof device !== "object" ||
    device === null ||
    typeof device.name !== "string" ||
    typeof device.ident !== "object"
  ) {
    throw invalid(
      spec.where,
      `${spec.device} has no device as its default export; write: export default definePciDevice({ ... })`,
    );
  }
  return device as PciDevice;
}

function checkKeys(spec: DeviceSpec, device: PciDevice): void {
  const known = [...COMMON, ...Object.keys(device.options ?? {})];
  for (const key of Object.keys(spec.options)) {
    if (!known.includes(key)) {
      throw invalid(
        spec.where,
        `${device.name} has no option "${key}"${didYouMean(key, known)} It has: ${known.join(", ")}`,
      );
    }
  }
}

function addressOf(spec: DeviceSpec): Sbdf | null {
  const addr = spec.options["addr"];
  if (addr === undefined) return null;
  try {
    return parseSbdf(String(addr));
  } catch (error) {
    throw invalid(spec.where, `addr: ${messageOf(error)}`);
  }
}

/** On a root bus from 10.0 on, for QEMU's devices are below; behind a bridge from 00.0 on. */
function nextFree(taken: Set<string>, spec: DeviceSpec): Sbdf {
  const first = spec.options["bus"] === undefined ? FIRST_SLOT : 0;
  for (let slot = first; slot < SLOTS; slot += 1) {
    const at = makeSbdf(0, 0, slot, 0);
    if (taken.has(slotOf(spec.options, at))) continue;
    taken.add(slotOf(spec.options, at));
    return at;
  }
  throw invalid(spec.where, `no slot from ${formatSbdf(makeSbdf(0, 0, first, 0))} on is free; give addr=`);
}

function optionValues(spec: DeviceSpec, device: PciDevice): OptionValues {
  const rows = Object.entries(device.options ?? {});
  return Object.fromEntries(rows.map(([key, row]) => [key, optionValue(spec, key, row)]));
}

function optionValue(spec: DeviceSpec, key: string, row: OptionRow): string | number | undefined {
  const given = spec.options[key];
  if (given === undefined) return row.default;
  if (row.kind === "number") {
    const value = Number(given);
    if (String(given).trim() === "" || !Number.isInteger(value) || value < row.min || value > row.max) {
      throw invalid(spec.where, `${key} is "${given}"; a whole number from ${row.min} to ${row.max} was expected`);
    }
    return value;
  }
  const text = String(given);
  if (row.kind === "choice") return choiceOf(spec, key, row.choices);
  if (row.kind === "chardev") {
    try {
      parseChardevSpec(text);
    } catch (error) {
      throw invalid(spec.where, `${key}: ${messageOf(error)}`);
    }
  }
  return text;
}

const isOn = (spec: DeviceSpec, key: string): boolean =>
  spec.options[key] !== undefined && choiceOf(spec, key, ON_OFF) === "on";

function choiceOf(spec: DeviceSpec, key: string, choices: readonly string[]): string {
  const text = String(spec.options[key]);
  if (choices.includes(text)) return text;
  throw invalid(spec.where, `${key} is "${text}"${didYouMean(text, choices)} Expected: ${choices.join(", ")}`);
}

const MOST_ROM_BYTES = 16 * 1024 * 1024;

function readRom(spec: DeviceSpec, path: string): Uint8Array {
  let contents: Uint8Array;
  try {
    contents = readFileSync(path);
  } catch (error) {
    throw invalid(spec.where, `romfile cannot be read: ${messageOf(error)}`);
  }
  if (contents.length === 0 || contents.length > MOST_ROM_BYTES) {
    throw invalid(spec.where, `romfile ${path} has ${contents.length} bytes; 1 to ${MOST_ROM_BYTES} are possible`);
  }
  return contents;
}

function invalid(where: string, what: string): IoreqdError {
  return new IoreqdError("DEVICE_SPEC_INVALID", `${where}: ${what}`, { where });
}
