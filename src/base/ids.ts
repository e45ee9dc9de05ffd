// SPDX-License-Identifier: MIT
/** Numbers that are easily swapped get a brand. They cost nothing at run time. */

import { IoreqdError } from "./errors.js";
import { hex } from "./hex.js";

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** Guest-physical address in bytes. A plain number: 52 bits fit a double exactly. */
export type Gpa = Branded<number, "Gpa">;
/** Guest frame number: a Gpa divided by 4096. */
export type Gfn = Branded<number, "Gfn">;
/** Segment 31:16, bus 15:8, device 7:3, function 2:0. Source: Xen public/hvm/dm_op.h, XEN_DMOP_PCI_SBDF. */
export type Sbdf = Branded<number, "Sbdf">;
/** 0 to 0x7fef; above are Xen's own. Source: Xen public/xen.h, DOMID_FIRST_RESERVED. */
export type DomId = Branded<number, "DomId">;
/** 0 to 127. */
export type VcpuId = Branded<number, "VcpuId">;
/** An event channel port. Zero is never one. */
export type EvtchnPort = Branded<number, "EvtchnPort">;
/** Number of an ioreq server within its domain. Source: Xen public/hvm/dm_op.h, ioservid_t. */
export type IoservId = Branded<number, "IoservId">;

const DOMID_FIRST_RESERVED = 0x7ff0;

function check(what: string, value: number, last: number, first = 0): number {
  if (Number.isInteger(value) && value >= first && value <= last) return value;
  throw new IoreqdError("BAD_VALUE", `${what} is ${value}; ${first} to ${last} is possible`, { what, value });
}

export const gpa = (value: number): Gpa => check("guest-physical address", value, 2 ** 52 - 1) as Gpa;
export const gfn = (value: number): Gfn => check("guest frame number", value, 2 ** 40 - 1) as Gfn;
export const domId = (value: number): DomId => check("domain id", value, DOMID_FIRST_RESERVED - 1) as DomId;
export const vcpuId = (value: number): VcpuId => check("vCPU number", value, 127) as VcpuId;
export const evtchnPort = (value: number): EvtchnPort =>
  check("event channel port", value, 2 ** 32 - 1, 1) as EvtchnPort;
export const ioservId = (value: number): IoservId => check("ioreq server id", value, 0xffff) as IoservId;

export function sbdf(segment: number, bus: number, device: number, fn: number): Sbdf {
  check("PCI segment", segment, 0xffff);
  check("PCI bus", bus, 0xff);
  check("PCI device", device, 0x1f);
  check("PCI function", fn, 7);
  return (segment * 0x1_0000 + bus * 0x100 + device * 8 + fn) as Sbdf;
}

export const segmentOf = (at: Sbdf): number => at >>> 16;
export const busOf = (at: Sbdf): number => (at >>> 8) & 0xff;
export const deviceOf = (at: Sbdf): number => (at >>> 3) & 0x1f;
export const functionOf = (at: Sbdf): number => at & 7;

/** "0000:00:05.0" */
export function formatSbdf(at: Sbdf): string {
  const part = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  return `${part(segmentOf(at), 4)}:${part(busOf(at), 2)}:${part(deviceOf(at), 2)}.${functionOf(at)}`;
}

/** Reads "0000:00:05.0", "00:05.0" and "5.0", in hexadecimal as lspci prints them. Throws BAD_VALUE. */
export function parseSbdf(text: string): Sbdf {
  const match = /^(?:(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):)?([0-9a-f]{1,2})\.([0-7])$/i.exec(text);
  if (match === null) {
    throw new IoreqdError(
      "BAD_VALUE",
      `"${text}" is no PCI address; write bus:device.function as lspci does, e.g. 00:10.0`,
      {
        value: text,
      },
    );
  }
  const [segment, bus, device, fn] = match.slice(1).map((digits) => Number.parseInt(digits ?? "0", 16));
  return sbdf(segment ?? 0, bus ?? 0, device ?? 0, fn ?? 0);
}

/** "0x505-0x505": an inclusive range, for messages. */
export const formatRange = (first: number | bigint, last: number | bigint): string => `${hex(first)}-${hex(last)}`;
