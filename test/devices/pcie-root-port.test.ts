// SPDX-License-Identifier: MIT
import { type Sbdf, sbdf } from "../../src/base/ids.js";
import { pciTestdev } from "../../src/devices/pci-testdev.js";
import { pcieRootPort } from "../../src/devices/pcie-root-port.js";
import { Machine } from "../support/machine.js";

const at = (device: number): Sbdf => sbdf(0, 0, device, 0);
const MSI = 0x48;
const EXP = 0x60;
const LINK_STATUS = EXP + 0x12;
const SLOT_CONTROL = EXP + 0x18;
const SLOT_STATUS = EXP + 0x1a;
const ALL_EVENTS = 0x1029;
const POWER_OFF = 0x0400;

/** The port is function 0 of the machine, what is in its slot function 1. */
const machineWith = (occupied: boolean): Machine =>
  new Machine([
    { device: pcieRootPort, sbdf: at(0x1c), id: "port", options: { slot: 5 } },
    ...(occupied ? [{ device: pciTestdev, sbdf: at(0), bus: "port" }] : []),
  ]);

/** Something is put into the slot or taken from it, as the control of the daemon does it. */
const change = (machine: Machine): void => machine.engine.host(() => machine.tree.functions[0]?.slot.changed());
const request = (machine: Machine): void => machine.engine.host(() => void machine.tree.functions[0]?.slot.request());

test("says whether something is in its slot, and its link is up when it is", () => {
  for (const occupied of [true, false]) {
    const machine = machineWith(occupied);
    expect(machine.configRead(0, SLOT_STATUS, 2)).toBe(occupied ? 0x40 : 0);
    expect(machine.configRead(0, LINK_STATUS, 2)).toBe(occupied ? 0x2011 : 0x0011);
    expect(machine.configRead(0, EXP + 0x14) >>> 19).toBe(5);
  }
});

test("a change raises its pin until the guest has cleared what happened", () => {
  const machine = machineWith(true);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | ALL_EVENTS, 2);
  machine.asked.length = 0;
  change(machine);
  expect(machine.configRead(0, SLOT_STATUS, 2)).toBe(0x148);
  expect(machine.asked).toEqual(["intx 1c.A raise"]);
  machine.configWrite(0, SLOT_STATUS, 0x100, 2);
  expect(machine.asked).toHaveLength(1);
  machine.configWrite(0, SLOT_STATUS, 0x008, 2);
  expect(machine.asked.slice(1)).toEqual(["intx 1c.A lower"]);
});

test("with MSI enabled it sends one message each time something begins to wait", () => {
  const machine = machineWith(true);
  machine.configWrite(0, 0x04, 7, 2);
  machine.configWrite(0, MSI + 4, 0xfee0_0000);
  machine.configWrite(0, MSI + 0x0c, 0x51, 2);
  machine.configWrite(0, MSI + 2, 1, 2);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | ALL_EVENTS, 2);
  machine.asked.length = 0;
  change(machine);
  change(machine);
  expect(machine.asked).toEqual(["msi 0xfee00000 0x51"]);
  machine.configWrite(0, SLOT_STATUS, 0x108, 2);
  change(machine);
  expect(machine.asked).toHaveLength(2);
});

test("what is put into a slot without power is told by its button, for Linux looks at nothing else", () => {
  const machine = machineWith(true);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | POWER_OFF | 0x1021, 2);
  machine.configWrite(0, SLOT_STATUS, 0x109, 2);
  machine.asked.length = 0;
  change(machine);
  expect(machine.configRead(0, SLOT_STATUS, 2)).toBe(0x49);
  expect(machine.asked).toEqual(["intx 1c.A raise"]);
});

test("nothing interrupts that the guest did not enable", () => {
  const machine = machineWith(true);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | (ALL_EVENTS & ~0x20), 2);
  machine.asked.length = 0;
  change(machine);
  expect(machine.asked).toEqual([]);
});

test("wanting a device back presses the button, and switching the slot off lets it go", () => {
  const machine = machineWith(true);
  let released = 0;
  const { slot } = machine.tree.functions[0] as { slot: { onRelease: () => void } };
  slot.onRelease = () => {
    released += 1;
  };
  request(machine);
  expect(machine.configRead(0, SLOT_STATUS, 2) & 1).toBe(1);
  expect(released).toBe(0);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | POWER_OFF, 2);
  expect(released).toBe(1);
});

test("with its power off nothing behind it answers, and with power again it is as after reset", () => {
  const machine = machineWith(true);
  machine.configWrite(0, 0x18, 0x0001_0100);
  expect(machine.configRead(1, 0)).toBe(0x0005_1b36);
  machine.configWrite(1, 0x10, 0xf000_0000);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0 | POWER_OFF, 2);
  expect(machine.tree.functions[1]?.sbdf).toBeNull();
  expect(machine.configRead(0, LINK_STATUS, 2) & 0x2000).toBe(0);
  machine.configWrite(0, SLOT_CONTROL, 0x01c0, 2);
  expect(machine.configRead(1, 0x10)).toBe(0);
});

test("there is one device below a port, of up to eight functions", () => {
  const second = { device: pciTestdev, sbdf: at(1), bus: "port" };
  expect(() => new Machine([{ device: pcieRootPort, sbdf: at(0x1c), id: "port" }, second])).toThrow(
    "behind a PCI Express port there is device 00 only, so give addr=00.0",
  );
});
