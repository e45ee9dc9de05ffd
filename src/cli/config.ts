// SPDX-License-Identifier: MIT
/** The config file: JSON with a schema. Unknown keys and wrong values are refused, saying where and what was expected. */

import { readFileSync } from "node:fs";
import { z } from "zod";
import { IoreqdError, messageOf } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import { FORMATS } from "../observe/log.js";
import { ADAPTERS } from "../xen/ffi/index.js";
import { type DeviceSpec, parseDeviceSpec } from "./device-spec.js";

const device = z.union([
  z.string(),
  z.strictObject({
    device: z.string(),
    addr: z.string().optional(),
    romfile: z.string().optional(),
    options: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  }),
]);

export const configSchema = z.strictObject({
  domid: z.int().min(0).max(0x7fef).optional(),
  devices: z.array(device).optional(),
  stateDir: z.string().optional(),
  bufioreq: z.enum(["off", "legacy", "atomic"]).optional(),
  polling: z
    .strictObject({
      window: z.number().min(0).max(100_000).optional(),
      budget: z.number().min(1).max(100_000).optional(),
    })
    .optional(),
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
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new IoreqdError("CONFIG_INVALID", `${path} is not JSON: ${messageOf(error)}`, { path });
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
    if (typeof entry === "string") return { ...parseDeviceSpec(entry), where };
    const options: Record<string, string | number> = { ...entry.options };
    if (entry.addr !== undefined) options["addr"] = entry.addr;
    if (entry.romfile !== undefined) options["romfile"] = entry.romfile;
    return { where, device: entry.device, options };
  });
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
  if (path[0] === "devices") return ["device", "addr", "romfile", "options"];
  const shape =
    path.length === 0
      ? configSchema.shape
      : (configSchema.shape[path[0] as keyof typeof configSchema.shape] as z.ZodType);
  const inner = shape instanceof z.ZodOptional ? (shape.unwrap() as z.ZodType) : shape;
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : Object.keys(shape);
}
