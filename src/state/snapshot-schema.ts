// SPDX-License-Identifier: MIT
/** What the JSON of a snapshot has to be. */

import * as v from "valibot";
import { integer } from "../base/schema.js";
import { HOST_RECORD, MAX_VALUE_BYTES, UUID_PATTERN } from "./format.js";
import type { KeptPlace, Value } from "./kept.js";

/** The snapshot of src/state/snapshot.ts, or what is wrong with it, and where. */
export function checkSnapshot(value: unknown): { snapshot: unknown; wrong?: undefined } | { wrong: string } {
  const parsed = v.safeParse(snapshotSchema, value);
  if (parsed.success) return { snapshot: parsed.output };
  const [issue] = parsed.issues;
  return { wrong: `${v.getDotPath(issue) ?? "the whole"}: ${issue.message}` };
}

const hex = v.pipe(v.string(), v.regex(/^([0-9a-f]{1,16}|([0-9a-f]{2})*)$/));
const int32 = integer(-(2 ** 31), 2 ** 31 - 1);
const name = v.pipe(v.string(), v.minLength(1));

const placeSchema = v.pipe(
  v.strictObject({
    kind: v.picklist(["register", "number", "bytes"]),
    width: integer(1, MAX_VALUE_BYTES),
    value: hex,
    reset: v.optional(hex),
    writable: v.optional(hex),
  }),
  v.rawTransform(({ dataset, addIssue }): KeptPlace => {
    const { kind, width, ...shown } = dataset.value;
    const wrong = (message: string): void => addIssue({ message });
    const read = (text: string | undefined): Value => {
      if (kind === "bytes") {
        if (text !== undefined && text.length === width * 2) return Buffer.from(text, "hex");
        if (text !== undefined || shown.value.length !== width * 2) wrong(`not ${width} bytes`);
        return new Uint8Array(shown.value.length / 2);
      }
      const value = BigInt(`0x${text === undefined || text === "" ? "0" : text}`);
      if (![1, 2, 4, 8].includes(width) || value >> BigInt(8 * width) !== 0n) wrong(`no number of ${width} bytes`);
      return value;
    };
    const writable = kind === "bytes" ? 0n : (read(shown.writable) as bigint);
    return { kind, width, value: read(shown.value), reset: read(shown.reset), writable };
  }),
);

const deviceSchema = v.strictObject({
  path: name,
  device: name,
  id: v.optional(v.string()),
  spec: v.optional(
    v.strictObject({ device: v.string(), options: v.record(v.string(), v.union([v.string(), v.number()])) }),
  ),
  groups: v.record(v.string(), v.record(v.string(), placeSchema)),
});

const snapshotSchema = v.strictObject({
  program: v.string(),
  uuid: v.union([v.literal(""), v.pipe(v.string(), v.regex(UUID_PATTERN))]),
  hosts: v.optional(v.unknown()),
  devices: v.pipe(
    v.array(deviceSchema),
    v.check((devices) => new Set(devices.map(({ path }) => path)).size === devices.length, "a path is there twice"),
  ),
  requests: v.array(
    v.strictObject({
      vcpu: integer(0, HOST_RECORD - 1),
      phase: v.picklist(["committed", "deferred"]),
      reply: v.tuple([int32, int32]),
      progress: integer(0, Number.MAX_SAFE_INTEGER),
    }),
  ),
});
