// SPDX-License-Identifier: MIT
/** Functions that come and go behind bridges, and in the slots of ports. */

import { sbdf } from "../../src/base/ids.js";
import { pciBridge } from "../../src/devices/pci-bridge.js";
import { pcieRootPort } from "../../src/devices/pcie-root-port.js";
import { definePciDevice } from "../../src/pci/define.js";
import type { PciFunction } from "../../src/pci/function.js";
import { DIR_READ, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine } from "../support/machine.js";

const ident = { vendor: 0x1234, device: 0x0042, classCode: 0x00ff00 } as const;
const reserve = { data: 16_384, layout: 32_768 };
const ALL = 0xffff_ffff;

const card = definePciDevice({ name: "card", ident, bars: { 0: { space: "mem32", size: 4096 } } });
const plain = definePciDevice({ name: "plain", ident });
const broken = definePciDevice({
  name: "broken",
  ident,
  attach() {
    throw new TypeError("no such thing");
  },
});

const at = (device: number, fn = 0) => sbdf(0, 0, device, fn);
const ask = { device: card, options: {} } as const;
const SLOT = { presence: 0x0008, button: 0x0001, link: 0x0100, powerOff: 0x0400, present: 0x0040 };
const port = { device: pcieRootPort, options: { slot: 1 }, sbdf: at(0x1c), id: "port" };
const behind = { ...ask, sbdf: at(0), bus: "port" };

/** With bus 1 behind the port. Control and status of the slot. */
function machineWithPort(): { machine: Machine; control: number; status: number } {
  const machine = new Machine([port], undefined, reserve);
  machine.configWrite(0, 0x18, 0x0001_0100);
  machine.configWrite(0, 0x04, 7, 2);
  const express = machine.tree.functions[0]?.config.placeNamed("EXP_SLOT_CONTROL") as number;
  const control = express - (machine.tree.functions[0]?.config.base as number);
  machine.asked.length = 0;
  return { machine, control, status: control + 2 };
}
const read1 = (machine: Machine): number =>
  Number(machine.post({ type: TYPE.pciConfig, flags: DIR_READ, addr: 0x100n << 32n }));

test("the slot of a port says that something came, and that it went", () => {
  const { machine, status } = machineWithPort();
  const fn = machine.hotplug.add(behind);
  expect(fn.label).toBe("0000:00:1c.0/00.0 card");
  expect(machine.asked).toEqual(["claim 0000:01:00.0"]);
  expect(machine.configRead(0, status, 2) & (SLOT.presence | SLOT.link | SLOT.present)).toBe(
    SLOT.presence | SLOT.link | SLOT.present,
  );
  expect(read1(machine)).toBe(0x0042_1234);
  machine.configWrite(0, status, 0xffff, 2);
  machine.hotplug.remove(fn);
  expect(machine.asked.at(-1)).toBe("give up 0000:01:00.0");
  expect(machine.configRead(0, status, 2) & (SLOT.presence | SLOT.present)).toBe(SLOT.presence);
  expect(read1(machine)).toBe(ALL);
});

test("a guest that is asked lets go, and then it is gone", async () => {
  const { machine, control, status } = machineWithPort();
  const fn = machine.hotplug.add(behind);
  machine.configWrite(0, status, 0xffff, 2);
  expect(machine.hotplug.request(fn)).toBe(true);
  expect(machine.configRead(0, status, 2) & SLOT.button).toBe(SLOT.button);
  expect(machine.tree.functions).toHaveLength(2);
  machine.configWrite(0, control, SLOT.powerOff, 2);
  await new Promise(setImmediate);
  expect([machine.tree.functions.length, machine.released]).toEqual([1, ["0000:00:1c.0/00.0 card"]]);
});

test("a slot that the guest switches off unasked keeps what is in it; then nobody need be asked", async () => {
  const { machine, control } = machineWithPort();
  const fn = machine.hotplug.add(behind);
  machine.configWrite(0, control, SLOT.powerOff, 2);
  await new Promise(setImmediate);
  expect(machine.tree.functions).toHaveLength(2);
  expect(machine.hotplug.request(fn)).toBe(false);
});

test("what was asked for and then taken is taken once; the next one in the slot is not taken for it", async () => {
  const { machine, control } = machineWithPort();
  const fn = machine.hotplug.add(behind);
  machine.hotplug.request(fn);
  machine.hotplug.remove(fn);
  machine.hotplug.add(behind);
  machine.configWrite(0, control, SLOT.powerOff, 2);
  await new Promise(setImmediate);
  expect(machine.tree.functions).toHaveLength(2);
});

test("a bridge with something behind it is not removed", () => {
  const { machine } = machineWithPort();
  const fn = machine.hotplug.add(behind);
  const bridge = machine.tree.functions[0] as PciFunction;
  expect(() => machine.hotplug.remove(bridge)).toThrow("has devices behind it: remove 0000:00:1c.0/00.0 card first");
  machine.hotplug.remove(fn);
  machine.hotplug.remove(bridge);
  expect([machine.tree.functions, machine.asked.at(-1)]).toEqual([[], "give up 0000:00:1c.0"]);
});

test("a bridge that comes later has devices behind it as any other, in the order of addresses", () => {
  const machine = new Machine([plain, { device: plain, sbdf: at(0x1f) }], undefined, reserve);
  machine.hotplug.add({ device: pciBridge, options: {}, sbdf: at(0x1c), id: "bridge" });
  machine.hotplug.add({ ...ask, sbdf: at(3), bus: "bridge" });
  machine.hotplug.add({ ...ask, sbdf: at(1), bus: "bridge" });
  expect(machine.tree.functions.map(({ plan }) => plan.path)).toEqual([
    "0000:00:10.0",
    "0000:00:1c.0",
    "0000:00:1c.0/01.0",
    "0000:00:1c.0/03.0",
    "0000:00:1f.0",
  ]);
  expect(machine.asked).toEqual(["claim 0000:00:1c.0"]);
  machine.configWrite(1, 0x18, 0x0001_0100);
  expect(machine.asked.slice(1)).toEqual(["claim 0000:01:01.0", "claim 0000:01:03.0"]);
  expect(machine.hotplug.requests.map(({ id, bus, sbdf: where }) => [id, bus, where & 0xff])).toEqual([
    [undefined, undefined, 0x80],
    ["bridge", undefined, 0xe0],
    [undefined, "bridge", 0x08],
    [undefined, "bridge", 0x18],
    [undefined, undefined, 0xf8],
  ]);
});

test.each([
  ["a bus that is not there", { ...behind, bus: "prot" }, "BUS_UNKNOWN"],
  ["a slot that a port has not", { ...behind, sbdf: at(1) }, "SLOT_UNKNOWN"],
  ["an id that is taken", { ...ask, sbdf: at(0x11), id: "port" }, "ID_TAKEN"],
  ["a device whose code throws", { ...behind, device: broken }, "DEVICE_FAILED"],
])("%s is refused, and the port's slot is as it was", (_, request, code) => {
  const { machine, status } = machineWithPort();
  const before = machine.configRead(0, status, 2);
  expect(() => machine.hotplug.add(request)).toThrow(expect.objectContaining({ code }));
  expect(machine.configRead(0, status, 2)).toBe(before);
  expect(machine.tree.functions[0]?.children).toEqual([]);
});
