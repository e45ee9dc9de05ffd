// SPDX-License-Identifier: MIT
/**
 * Config files: JSON in which comments and trailing commas are allowed, with a schema. Unknown keys and
 * wrong values are refused, saying where and what was expected.
 */

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type ParseError, parse, printParseErrorCode } from "jsonc-parser";
import { z } from "zod";
import { IoreqdError, messageOf } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import { FORMATS } from "../observe/log.js";
import { ADAPTERS } from "../xen/ffi/index.js";
import { COMMON, type DeviceSpec, parseDeviceSpec } from "./device-spec.js";

const device = z.union([
  z.string(),
  z.strictObject({
    device: z.string(),
    addr: z.string().optional(),
    id: z.string().optional(),
    bus: z.string().optional(),
    romfile: z.string().optional(),
    options: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  }),
]);

/** A guest-physical address: a number, or text such as "0xe0000000". */
const address = z.union([
  z.int().min(0),
  z
    .string()
    .regex(/^0x[0-9a-f]+$/i, "a number, or text like 0xe0000000")
    .transform(Number),
]);

/** See src/pci/windows.ts, which checks that they fit. */
const hostBridge = z.strictObject({
  segment: z.int().min(0).max(0xffff).optional(),
  bus: z.int().min(0).max(0xff).optional(),
  ecam: z
    .strictObject({
      base: address,
      firstBus: z.int().min(0).max(255).optional(),
      buses: z.int().min(1).max(256).optional(),
      claim: z.enum(["functions", "window"]).optional(),
      delivery: z.enum(["native", "translated"]).optional(),
    })
    .optional(),
  aperture: z.strictObject({ base: address, size: z.int().optional() }).optional(),
});

export const configSchema = z.strictObject({
  domid: z.int().min(0).max(0x7fef).optional(),
  devices: z.array(device).optional(),
  hostBridges: z.array(hostBridge).min(1).optional(),
  stateDir: z.string().optional(),
  /** For ioreqd-dm and attach: what they hand over to, who supervises, where a log goes that no supervisor takes. */
  qemu: z.string().optional(),
  supervisor: z.enum(["auto", "systemd", "none"]).optional(),
  logDir: z.string().optional(),
  bufioreq: z.enum(["off", "legacy", "atomic"]).optional(),
  polling: z
    .strictObject({
      window: z.number().min(0).max(100_000).optional(),
      budget: z.number().min(1).max(100_000).optional(),
    })
    .optional(),
  /** Milliseconds; 0: none. */
  watchdog: z.int().min(0).max(600_000).optional(),
  quarantine: z.int().min(0).max(100).optional(),
  ffi: z.enum(ADAPTERS).optional(),
  log: z.strictObject({ verbosity: z.int().min(0).max(3).optional(), format: z.enum(FORMATS).optional() }).optional(),
});

export type Config = z.infer<typeof configSchema>;

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
  const parsed = configSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => describeIssue(issue, json));
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

type Issue = z.core.$ZodIssue;

function describeIssue(issue: Issue, json: unknown): string {
  const at = issue.path.length === 0 ? "the top level" : issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path);
    return issue.keys
      .map((key) => `${at} has no key "${key}"${didYouMean(key, known)} It takes: ${known.join(", ")}`)
      .join("; ");
  }
  if (issue.code === "invalid_value") {
    const value = valueAt(json, issue.path);
    const allowed = issue.values.map(String);
    return `${at} is ${JSON.stringify(value)}${didYouMean(String(value), allowed)} Expected: ${allowed.join(", ")}`;
  }
  if (issue.code === "invalid_union") {
    const inner = issue.errors.flat().find((one) => one.code === "unrecognized_keys") ?? issue.errors.at(-1)?.[0];
    return inner === undefined
      ? `${at}: ${issue.message}`
      : describeIssue({ ...inner, path: [...issue.path, ...inner.path] }, json);
  }
  return `${at} is ${JSON.stringify(valueAt(json, issue.path))}: ${issue.message}`;
}

const valueAt = (json: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], json);

/** Keys the schema has at a path. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  if (path[0] === "devices") return ["device", ...COMMON, "options"];
  const shape =
    path.length === 0
      ? configSchema.shape
      : (configSchema.shape[path[0] as keyof typeof configSchema.shape] as z.ZodType);
  const inner = shape instanceof z.ZodOptional ? (shape.unwrap() as z.ZodType) : shape;
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : Object.keys(shape);
}
