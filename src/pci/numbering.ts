// SPDX-License-Identifier: MIT
/**
 * Which function has which number now. Bus numbers are what a guest wrote into
 * bridges, so they may be missing, collide or point back: whoever comes first
 * in the order of addresses has a bus, and what is behind the others is not
 * reached. Nothing here throws or loops, whatever the registers say.
 *
 * Source: PCI-to-PCI Bridge 1.2, 3.1.2 (type 1 accesses are passed on by number).
 */

import type { PciFunction } from "./function.js";

/** Bridges whose bus numbers are no good: outside of those above, or another's. */
export type Unreachable = readonly PciFunction[];

/** Number everything behind `roots`. Returns bridges that have numbers which can't be used. */
export function number(functions: readonly PciFunction[]): Unreachable {
  const unreachable: PciFunction[] = [];
  const taken = new Map<number, Set<number>>();
  const busesOf = (segment: number): Set<number> => {
    const buses = taken.get(segment) ?? new Set<number>();
    taken.set(segment, buses);
    return buses;
  };
  const roots = functions.filter(({ plan }) => plan.root !== null);
  for (const { plan } of roots) busesOf((plan.root as number) >>> 16).add(((plan.root as number) >>> 8) & 0xff);

  const forget = (bridge: PciFunction): void => {
    for (const child of bridge.children) {
      child.moveTo(0, null);
      forget(child);
    }
  };
  const visit = (fn: PciFunction, segment: number, bus: number, last: number): void => {
    if (fn.bridge === null) return;
    const { secondary, subordinate, isOpen } = fn.bridge;
    if (!isOpen) {
      forget(fn);
      return;
    }
    const buses = busesOf(segment);
    const usable = secondary > bus && secondary <= subordinate && subordinate <= last && !buses.has(secondary);
    if (!usable) {
      // As after reset, it is not numbered yet, which is no mistake.
      if (secondary !== 0) unreachable.push(fn);
      forget(fn);
      return;
    }
    buses.add(secondary);
    for (const child of fn.children) child.moveTo(segment, secondary);
    for (const child of fn.children) visit(child, segment, secondary, subordinate);
    // A sibling can't have what lies in this one's range, used or not.
    for (let behind = secondary; behind <= subordinate; behind += 1) buses.add(behind);
  };
  for (const fn of roots) {
    const at = fn.plan.root as number;
    visit(fn, at >>> 16, (at >>> 8) & 0xff, 0xff);
  }
  return unreachable;
}

/** Device and pin (0 to 3) on the root bus that a function's pin ends on. Source: PCI-to-PCI Bridge 1.2, 9.1. */
export function rootPin(fn: PciFunction, pin: number): { device: number; pin: number } {
  const device = fn.plan.devfn >>> 3;
  return fn.parent === null ? { device, pin } : rootPin(fn.parent, (pin + device) & 3);
}

/** Where the pin of a function that has one ends, as root device * 4 + pin. */
export function wireOf(fn: PciFunction): number {
  const { device, pin } = rootPin(fn, "ABCD".indexOf(fn.plan.device.intx ?? "A"));
  return device * 4 + pin;
}
