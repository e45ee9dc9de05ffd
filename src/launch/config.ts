// SPDX-License-Identifier: MIT
/**
 * Config files: JSON in which comments and trailing commas are allowed, with a schema. Unknown keys and
 * wrong values are refused, saying where and what was expected.
 */

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type ParseError, parse, printParseErrorCode } from "jsonc-parser";
import * as v from "valibot";
import { IoreqdError, messageOf } from "../base/errors.js";
import { integer } from "../base/schema.js";
import { didYouMean } from "../base/suggest.js";
import { FORMATS } from "../observe/log.js";
import { ADAPTERS } from "../xen/ffi/index.js";
import { COMMON, type DeviceSpec, parseDeviceSpec } from "./device-spec.js";

const device = v.union([
  v.string(),
  v.strictObject({
    device: v.string(),
    addr: v.optional(v.string()),
    id: v.optional(v.string()),
    bus: v.optional(v.string()),
    multifunction: v.optional(v.picklist(["on", "off"])),
    romfile: v.optional(v.string()),
    shadow: v.optional(v.picklist(["on", "off"])),
    options: v.optional(v.record(v.string(), v.union([v.string(), v.number()]))),
  }),
]);

/** A guest-physical address: a number, or text such as "0xe0000000". */
const address = v.union([
  integer(0, Number.MAX_SAFE_INTEGER),
  v.pipe(v.string(), v.regex(/^0x[0-9a-f]+$/i, "a number, or text like 0xe0000000"), v.transform(Number)),
]);

/** See src/pci/windows.ts, which checks that they fit. */
const hostBridge = v.strictObject({
  segment: v.optional(integer(0, 0xffff)),
  bus: v.optional(integer(0, 0xff)),
  ecam: v.optional(
    v.strictObject({
      base: address,
      firstBus: v.optional(integer(0, 255)),
      buses: v.optional(integer(1, 256)),
      claim: v.optional(v.picklist(["functions", "window"])),
      delivery: v.optional(v.picklist(["native", "translated"])),
    }),
  ),
  aperture: v.optional(v.strictObject({ base: address, size: v.optional(v.pipe(v.number(), v.integer())) })),
});

export const configSchema = v.strictObject({
  domid: v.optional(integer(0, 0x7fef)),
  devices: v.optional(v.array(device)),
  hostBridges: v.optional(v.pipe(v.array(hostBridge), v.minLength(1))),
  stateDir: v.optional(v.string()),
  /** Of guests that are saved and restored: where their devices' state is kept, and what to do where it is not there. */
  savedDir: v.optional(v.string()),
  withoutState: v.optional(v.picklist(["refuse", "fresh"])),
  /** For ioreqd-dm and attach: what they hand over to, who supervises, where a log goes that no supervisor takes. */
  qemu: v.optional(v.string()),
  supervisor: v.optional(v.picklist(["auto", "systemd", "none"])),
  logDir: v.optional(v.string()),
  bufioreq: v.optional(v.picklist(["off", "legacy", "atomic"])),
  polling: v.optional(
    v.strictObject({
      window: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100_000))),
      budget: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(100_000))),
    }),
  ),
  /** Milliseconds; 0: none. */
  watchdog: v.optional(integer(0, 600_000)),
  quarantine: v.optional(integer(0, 100)),
  ffi: v.optional(v.picklist(ADAPTERS)),
  log: v.optional(v.strictObject({ verbosity: v.optional(integer(0, 3)), format: v.optional(v.picklist(FORMATS)) })),
});

export type Config = v.InferOutput<typeof configSchema>;

/** Read and check a config file. Throws CONFIG_UNREADABLE or CONFIG_INVALID. */
export function readConfig(path: string): Config {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new IoreqdError("CONFIG_UNREADABLE", `config file ${path}: ${messageOf(error)}`, { path }, { cause: error });
  }
  return parseConfig(path, text);
}

export function parseConfig(path: string, text: string): Config {
  const errors: ParseError[] = [];
  // A file of comments only says nothing, and that is allowed.
  const json: unknown = parse(text, errors, { allowTrailingComma: true, allowEmptyContent: true }) ?? {};
  const [first] = errors;
  if (first !== undefined) {
    throw new IoreqdError("CONFIG_INVALID", `${path} is not JSON: ${describeParseError(first, text)}`, { path });
  }
  const parsed = v.safeParse(configSchema, json);
  if (parsed.success) return parsed.output;
  const issues = parsed.issues.map((issue) => describeIssue(issue, json));
  throw new IoreqdError("CONFIG_INVALID", `${path}: ${issues.join("; ")}`, { path });
}

/** The devices of a config file as specs. */
export function configDevices(path: string, config: Config): DeviceSpec[] {
  return (config.devices ?? []).map((entry, index): DeviceSpec => {
    const where = `${path}, devices[${index}]`;
    if (typeof entry === "string") {
      const spec = parseDeviceSpec(entry);
      return { ...spec, where, device: besideFile(path, spec.device) };
    }
    const options: Record<string, string | number> = { ...entry.options };
    for (const key of COMMON) if (entry[key] !== undefined) options[key] = entry[key];
    return { where, device: besideFile(path, entry.device), options };
  });
}

/** A module named relative to the config file that names it. */
const besideFile = (path: string, device: string): string =>
  /^\.{1,2}\//.test(device) ? resolve(dirname(path), device) : device;

/** "line 3, column 7: ColonExpected". */
function describeParseError({ error, offset }: ParseError, text: string): string {
  const before = text.slice(0, offset).split("\n");
  return `line ${before.length}, column ${(before.at(-1) ?? "").length + 1}: ${printParseErrorCode(error)}`;
}

type Issue = v.BaseIssue<unknown>;
type Path = readonly PropertyKey[];

const pathOf = (issue: Issue): Path => (issue.path ?? []).map(({ key }) => key as PropertyKey);

/** `path`: of what the issue was found in, from the top of the file. */
function describeIssue(issue: Issue, json: unknown, path: Path = pathOf(issue)): string {
  const name = (at: Path): string => (at.length === 0 ? "the top level" : at.map(String).join("."));
  if (issue.type === "strict_object" && issue.expected === "never") {
    const parent = path.slice(0, -1);
    const known = Object.keys(schemaAt(parent)?.entries ?? {});
    const unknown = Object.keys(valueAt(json, parent) as object).filter((key) => !known.includes(key));
    return unknown
      .map((key) => `${name(parent)} has no key "${key}"${didYouMean(key, known)} It takes: ${known.join(", ")}`)
      .join("; ");
  }
  const value = valueAt(json, path);
  if (issue.type === "picklist") {
    const allowed = (schemaAt(path)?.options ?? []).map(String);
    return `${name(path)} is ${JSON.stringify(value)}${didYouMean(String(value), allowed)} Expected: ${allowed.join(", ")}`;
  }
  if (issue.type === "union") {
    const inner = issue.issues?.find(({ type }) => type === "strict_object") ?? issue.issues?.at(-1);
    if (inner !== undefined) return describeIssue(inner, json, [...path, ...pathOf(inner)]);
  }
  return `${name(path)} is ${JSON.stringify(value)}: ${issue.message}`;
}

const valueAt = (json: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], json);

/** What a schema is made of, as far as a message tells of it. */
export interface Part {
  readonly wrapped?: Part;
  readonly item?: Part;
  readonly entries?: Readonly<Record<PropertyKey, Part>>;
  readonly options?: readonly unknown[];
}

/** Of a union it is the option with keys: the others are plain values. */
function schemaAt(path: Path): Part | undefined {
  const open = (part: Part | undefined): Part | undefined =>
    part?.wrapped !== undefined
      ? open(part.wrapped)
      : ((part?.options as Part[] | undefined)?.find(({ entries }) => entries !== undefined) ?? part);
  return path.reduce<Part | undefined>((part, key) => open(part?.item ?? part?.entries?.[key]), configSchema as Part);
}
