// SPDX-License-Identifier: MIT
/** A device's specification for another process, whose working directory is another. */

import { resolve } from "node:path";
import { anchoredDevice, findDevice, parseDeviceSpec } from "./device-spec.js";

/** The same, with paths that hold anywhere. Throws DEVICE_SPEC_INVALID, DEVICE_UNKNOWN, MODULE_NOT_FOUND, MODULE_LOAD_FAILED. */
export function anchored(text: string, option: string): string {
  const spec = parseDeviceSpec(text, option);
  const { options } = findDevice(spec);
  const parts = Object.entries(spec.options).map(([key, value]) => {
    const kind = key === "romfile" ? "file" : options?.[key]?.kind;
    return `${key}=${anchoredValue(String(value), kind)}`;
  });
  return [anchoredDevice(spec.device), ...parts].map((part) => part.replaceAll(",", ",,")).join(",");
}

function anchoredValue(value: string, kind: string | undefined): string {
  if (kind === "file") return resolve(value);
  const [, prefix, path] = /^(file:|unix:)(.+)$/s.exec(value) ?? [];
  return kind === "chardev" && prefix !== undefined && path !== undefined ? prefix + resolve(path) : value;
}
