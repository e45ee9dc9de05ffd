// SPDX-License-Identifier: MIT
/**
 * PCI Express: what makes a function an endpoint or a root port, and gives it
 * 4096 bytes of configuration space. Source: PCI Express Base 3.0, 7.8, 7.10.
 */

import type { Rows } from "../../bus/table.js";
import { CAPABILITY, EXPRESS, EXTENDED_CAPABILITY, SLOT } from "../../spec/pci.js";
import type { Capability } from "../capability.js";

const VERSION = 2;
const LENGTH = 0x3c;
/** 2.5 GT/s, one lane, up: what a link without wires says. */
const LINK = { speed: 1, width: 1 << 4, activeReporting: 1 << 20 } as const;

/** Rows that every kind has. `kind`: the device/port type. */
function rows(kind: number, linked: boolean, slot: boolean): Rows {
  const link = linked ? LINK.speed | LINK.width : 0;
  return {
    CAPABILITIES: { at: 0x02, width: 2, reset: VERSION | (kind << 4) | (slot ? EXPRESS.slotImplemented : 0) },
    DEVICE_CAPABILITIES: {
      at: 0x04,
      reset: EXPRESS.roleBasedErrors | (kind === EXPRESS.rootPort ? 0 : EXPRESS.functionReset),
    },
    DEVICE_CONTROL: { at: 0x08, width: 2, reset: EXPRESS.controlReset, rw: EXPRESS.controlWritable },
    DEVICE_STATUS: { at: 0x0a, width: 2, w1c: EXPRESS.statusErrors },
    LINK_CAPABILITIES: { at: 0x0c, reset: link },
    LINK_CONTROL: { at: 0x10, width: 2, rw: linked ? EXPRESS.linkWritable : 0 },
    LINK_STATUS: { at: 0x12, width: 2, reset: link },
    DEVICE_CAPABILITIES_2: { at: 0x24 },
    DEVICE_CONTROL_2: { at: 0x28, width: 2 },
    DEVICE_STATUS_2: { at: 0x2a, width: 2 },
    LINK_CAPABILITIES_2: { at: 0x2c, reset: linked ? 1 << 1 : 0 },
    LINK_CONTROL_2: { at: 0x30, width: 2, reset: linked ? LINK.speed : 0 },
    LINK_STATUS_2: { at: 0x32, width: 2 },
  };
}

/**
 * A root port; with a slot number (0 to 8191) a slot for hot-plug: button, indicators and power controller, each command
 * complete at once, surprise removal allowed. What the slot's registers do is the device's business.
 */
export function expressRootPort(options: { readonly slot?: number; readonly at?: number }): Capability {
  const { slot, ...place } = options;
  const slotRows: Rows = {
    SLOT_CAPABILITIES: { at: 0x14, reset: ((slot ?? 0) * 2 ** 19 + SLOT.capabilities) >>> 0 },
    SLOT_CONTROL: { at: 0x18, width: 2, reset: SLOT.controlReset, rw: SLOT.controlWritable },
    SLOT_STATUS: { at: 0x1a, width: 2, w1c: SLOT.events },
  };
  return {
    name: "EXP",
    id: CAPABILITY.express,
    length: LENGTH,
    ...place,
    regs: {
      ...rows(EXPRESS.rootPort, true, slot !== undefined),
      LINK_CAPABILITIES: { at: 0x0c, reset: LINK.speed | LINK.width | LINK.activeReporting },
      ...(slot === undefined ? {} : slotRows),
      ROOT_CONTROL: { at: 0x1c, width: 2, rw: 0x000f },
      ROOT_CAPABILITIES: { at: 0x1e, width: 2 },
      ROOT_STATUS: { at: 0x20, w1c: 0x0001_0000 },
    },
  };
}

/** An endpoint; on the root bus one that is integrated with the root complex, without a link. 7.8.2. */
export function expressEndpoint(options: { readonly at?: number } = {}): Capability {
  return {
    name: "EXP",
    id: CAPABILITY.express,
    length: LENGTH,
    ...options,
    regs: ({ rootBus }) => rows(rootBus ? EXPRESS.integratedEndpoint : EXPRESS.endpoint, !rootBus, false),
    attach({ registers: { DEVICE_CONTROL: control }, reset }) {
      control?.onWrite((raw) => {
        if ((raw & EXPRESS.initiateReset) !== 0) reset();
      });
    },
  };
}

/** Advanced error reporting, with no errors to report. A root port has registers for those of others. Source: PCI Express 3.0 7.10. */
export function advancedErrors(options: { readonly rootPort?: boolean } = {}): Capability {
  const { rootPort = false } = options;
  const rootRows: Rows = {
    ROOT_COMMAND: { at: 0x2c, rw: 0x7 },
    ROOT_STATUS: { at: 0x30, w1c: 0x7f },
    ERROR_SOURCE: { at: 0x34 },
  };
  return {
    name: "AER",
    id: EXTENDED_CAPABILITY.aer,
    version: 2,
    length: rootPort ? 0x38 : 0x2c,
    regs: {
      UNCORRECTABLE_STATUS: { at: 0x04, w1c: EXPRESS.uncorrectable },
      UNCORRECTABLE_MASK: { at: 0x08, rw: EXPRESS.uncorrectable },
      UNCORRECTABLE_SEVERITY: { at: 0x0c, reset: EXPRESS.fatal, rw: EXPRESS.uncorrectable },
      CORRECTABLE_STATUS: { at: 0x10, w1c: EXPRESS.correctable },
      CORRECTABLE_MASK: { at: 0x14, reset: EXPRESS.advisory, rw: EXPRESS.correctable },
      CONTROL: { at: 0x18 },
      HEADER_LOG: { at: 0x1c, bytes: 16 },
      ...(rootPort ? rootRows : {}),
    },
  };
}
