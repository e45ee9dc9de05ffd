// SPDX-License-Identifier: MIT
/** A tree of functions as `lspci -nn -v` prints it. */

import type { FoundBar, FoundFunction } from "../sim/guests/pci.js";

/** Names of classes, as pci.ids has them: those our devices use. */
const CLASSES: Readonly<Record<number, string>> = {
  255: "Unclassified device",
  1792: "Serial controller",
  1540: "PCI bridge",
  2176: "System peripheral",
};

const digits = (value: number, width: number): string => value.toString(16).padStart(width, "0");

export function formatTree(functions: readonly FoundFunction[]): string {
  return functions.map(formatFunction).join("\n");
}

function formatFunction(fn: FoundFunction): string {
  const baseClass = fn.classCode >>> 8;
  const name = CLASSES[baseClass] ?? "Class";
  const revision = fn.revision === 0 ? "" : ` (rev ${digits(fn.revision, 2)})`;
  const progIf = (fn.classCode & 0xff) === 0 ? "" : ` (prog-if ${digits(fn.classCode & 0xff, 2)})`;
  return [
    `${fn.bdf} ${name} [${digits(baseClass, 4)}]: Device [${digits(fn.vendorId, 4)}:${digits(fn.deviceId, 4)}]${revision}${progIf}`,
    `\tFlags: bus master, fast devsel, latency 0${fn.pin === 0 ? "" : `, IRQ ${fn.gsi}`}`,
    ...fn.bars.map(formatBar),
  ].join("\n");
}

function formatBar(bar: FoundBar): string {
  const size = `[size=${formatSize(bar.size)}]`;
  if (bar.space === "io") return `\tI/O ports at ${digits(bar.address, 4)} ${size}`;
  if (bar.space === "rom") return `\tExpansion ROM at ${digits(bar.address, 8)} [disabled] ${size}`;
  const width = bar.space === "mem64" ? "64-bit" : "32-bit";
  return `\tMemory at ${digits(bar.address, 8)} (${width}, ${bar.prefetchable ? "" : "non-"}prefetchable) ${size}`;
}

function formatSize(bytes: number): string {
  if (bytes >= 1 << 20) return `${bytes >>> 20}M`;
  return bytes >= 1 << 10 ? `${bytes >>> 10}K` : String(bytes);
}
