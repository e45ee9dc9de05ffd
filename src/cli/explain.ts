// SPDX-License-Identifier: MIT
/** `ioreqd devices` and `ioreqd explain DEVICE`: the tables the code really uses, printed. */

import { hex } from "../base/hex.js";
import { isBytes, type Row, type Rows, resolveTable } from "../bus/table.js";
import { devices } from "../devices/index.js";
import { findDevice } from "../launch/device-spec.js";
import type { BarTable, OptionRow, PciDevice } from "../pci/define.js";
import { functionTables } from "../pci/header.js";
import { romSize } from "../pci/rom.js";
import { columns } from "./columns.js";

export function listDevices(): string {
  return columns(devices.map((device) => [device.name, idOf(device), device.summary ?? ""]));
}

const digits = (value: number, width: number): string => value.toString(16).padStart(width, "0");
const idOf = ({ ident }: PciDevice): string => `${digits(ident.vendor, 4)}:${digits(ident.device, 4)}`;

/** Everything a device's table says. Throws DEVICE_UNKNOWN. */
export function explainDevice(name: string): string {
  const device = findDevice({ where: `explain ${name}`, device: name, options: {} });
  const { ident } = device;
  const options = Object.entries(device.options ?? {});
  const defaults = Object.fromEntries(options.map(([key, row]) => [key, row.default]));
  const tables = functionTables(device, defaults, romSize(device.rom?.length ?? 0), {
    rootBus: true,
    multiFunction: false,
  });
  const parts = [
    `${device.name}: ${device.summary ?? ""}`.trimEnd(),
    columns([
      ["id", `${idOf(device)} (rev ${digits(ident.revision ?? 0, 2)})`],
      ["class", digits(ident.classCode, 6)],
      ["interrupt", device.intx === undefined ? "none" : `INT${device.intx}`],
      ["addr", "bus:device.function; the next free one from 00:10.0 on unless given"],
    ]),
    ...tables.bars.map(([index, bar]) => explainBar(device, index, bar)),
    `configuration space\n${rows(tables.config.regs ?? {})}`,
  ];
  if (options.length > 0)
    parts.push(`options\n${columns(options.map(([key, row]) => [`  ${key}=`, optionKind(row), row.doc]))}`);
  const state = Object.entries(device.state ?? {});
  if (state.length > 0)
    parts.push(
      `state\n${columns(state.map(([key, row]) => [`  ${key}`, row === "int32" ? "32 bits" : `${row.bytes} bytes`]))}`,
    );
  if ((device.timers ?? []).length > 0) parts.push(`timers\n  ${(device.timers ?? []).join(", ")}`);
  return parts.join("\n\n");
}

/** Throws TABLE_INVALID: what is printed is what would be served. */
function explainBar(device: PciDevice, index: number, bar: BarTable): string {
  resolveTable(`${device.name} bar${index}`, bar);
  return `${barTitle(index, bar)}\n${rows(bar.regs ?? {})}${holes(bar)}`;
}

function barTitle(index: number, bar: BarTable): string {
  const kind =
    bar.space === "io"
      ? "I/O ports"
      : `${bar.space === "mem64" ? "64" : "32"}-bit memory${bar.prefetchable === true ? ", prefetchable" : ""}`;
  return `BAR ${index}: ${hex(bar.size)} bytes of ${kind}`;
}

function rows(regs: Rows): string {
  const lines = Object.entries(regs)
    .sort(([, a], [, b]) => a.at - b.at)
    .map(([name, row]) => [`  ${hex(row.at)}`, name, ...rowCells(row), row.doc ?? ""]);
  return columns([["  at", "register", "bytes", "reset", "writable", "write 1 to clear", ""], ...lines]);
}

function rowCells(row: Row): string[] {
  if (isBytes(row)) return [String(row.bytes), "", row.rw === true ? "all" : "-", "-"];
  const bits = (value: number | bigint | undefined): string =>
    value === undefined || BigInt(value) === 0n ? "-" : hex(value);
  return [String(row.width ?? 4), hex(row.reset ?? 0), bits(row.rw), bits(row.w1c)];
}

function holes(bar: BarTable): string {
  const accepts = (bar.accepts ?? []).map(({ from, widths }) => `from ${hex(from)} on: ${widths.join(", ")} bytes`);
  const widths =
    accepts.length === 0 ? "" : `\n  accepted widths ${accepts.join("; ")}; others read all-ones and write nothing`;
  return `\n  elsewhere reads as ${bar.holes === "ones" ? "ones" : "zeros"}${widths}`;
}

function optionKind(row: OptionRow): string {
  const fallback = row.default === undefined ? "" : ` (default ${row.default})`;
  if (row.kind === "number") return `${row.min} to ${row.max}${fallback}`;
  return `${row.kind === "choice" ? row.choices.join(" | ") : row.kind}${fallback}`;
}
