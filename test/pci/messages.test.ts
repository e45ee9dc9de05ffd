// SPDX-License-Identifier: MIT
import { msi, msix } from "../../src/pci/capabilities/interrupts.js";
import { powerManagement } from "../../src/pci/capabilities/power.js";
import type { Capability } from "../../src/pci/capability.js";
import { DIR_READ } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY } from "../support/machine.js";
import { message, PBA, program, sender, TABLE } from "./sender.js";

const ALL = 0xffff_ffff;
const COMMAND = 0x04;

const MSIX = msix({ vectors: 40, table: { bar: 0, at: 0x1000 }, pba: { bar: 0, at: 0x1800 } });

function started(...capabilities: Capability[]): Machine {
  const machine = new Machine([sender(...capabilities)]);
  machine.place();
  return machine;
}

describe("MSI", () => {
  const CAP = 0x40;
  const enable = (machine: Machine, log2 = 0): void => {
    machine.configWrite(0, CAP + 4, 0xfee0_1000);
    machine.configWrite(0, CAP + 0x0c, 0x4140, 2);
    machine.configWrite(0, CAP + 2, 1 | (log2 << 4), 2);
  };

  test("says what it has: 64-bit addresses, masks, messages", () => {
    const machine = started(msi({ vectors: 8 }));
    expect(machine.configRead(0, 0x34, 1)).toBe(CAP);
    expect(machine.configRead(0, 0x06, 2) & 0x10).toBe(0x10);
    expect(machine.configRead(0, CAP)).toBe(0x0186_0005);
    machine.configWrite(0, CAP + 0x10, ALL);
    expect(machine.configRead(0, CAP + 0x10)).toBe(0xff);
    machine.configWrite(0, CAP + 4, ALL);
    expect(machine.configRead(0, CAP + 4)).toBe(0xffff_fffc);
  });

  test("a message goes once, with its number in the low bits of the data", () => {
    const machine = started(msi({ vectors: 8 }));
    enable(machine, 3);
    for (const vector of [0, 5, 7]) machine.write(MEMORY, vector);
    expect(machine.asked).toEqual(["msi 0xfee01000 0x4140", "msi 0xfee01000 0x4145", "msi 0xfee01000 0x4147"]);
  });

  test("with fewer messages allowed than the device has, they share; more than it has are not given", () => {
    const machine = started(msi({ vectors: 4 }));
    enable(machine, 1);
    machine.write(MEMORY, 3);
    enable(machine, 7);
    machine.write(MEMORY, 3);
    expect(machine.asked).toEqual(["msi 0xfee01000 0x4141", "msi 0xfee01000 0x4143"]);
  });

  test("a masked message is pending until it is unmasked, and then goes exactly once", () => {
    const machine = started(msi({ vectors: 4 }));
    enable(machine, 2);
    machine.configWrite(0, CAP + 0x10, 0b0110);
    for (const vector of [1, 1, 2, 3]) machine.write(MEMORY, vector);
    expect(machine.asked).toEqual(["msi 0xfee01000 0x4143"]);
    expect(machine.configRead(0, CAP + 0x14)).toBe(0b0110);
    machine.configWrite(0, CAP + 0x10, 0b0100);
    expect(machine.asked).toEqual(["msi 0xfee01000 0x4143", "msi 0xfee01000 0x4141"]);
    expect(machine.configRead(0, CAP + 0x14)).toBe(0b0100);
    machine.configWrite(0, CAP + 0x10, 0);
    machine.configWrite(0, CAP + 0x10, ALL);
    machine.configWrite(0, CAP + 0x10, 0);
    expect(machine.asked).toHaveLength(3);
  });

  test("without 64-bit addresses and masks the structure is the short one", () => {
    const machine = started(msi({ vectors: 1, maskable: false, address64: false }));
    expect(machine.configRead(0, CAP)).toBe(0x0000_0005);
    machine.configWrite(0, CAP + 4, 0xfee0_2000);
    machine.configWrite(0, CAP + 8, 0x0051, 2);
    machine.configWrite(0, CAP + 2, 1, 2);
    machine.write(MEMORY, 0);
    expect(machine.asked).toEqual(["msi 0xfee02000 0x51"]);
  });

  test("is none while it is disabled: nothing goes, then or later", () => {
    const machine = started(msi({ vectors: 1 }));
    machine.write(MEMORY, 0);
    enable(machine);
    expect(machine.asked).toEqual([]);
  });
});

describe("MSI-X", () => {
  const CAP = 0x40;
  const on = 0x8000;
  const allMasked = 0xc000;

  test("says how many there are and where; every entry is masked at first", () => {
    const machine = started(MSIX);
    expect(machine.configRead(0, CAP)).toBe(0x0027_0011);
    expect(machine.configRead(0, CAP + 4)).toBe(0x1000);
    expect(machine.configRead(0, CAP + 8)).toBe(0x1800);
    for (const vector of [0, 39]) expect(machine.read(TABLE + vector * 16 + 12)).toBe(1);
    expect(machine.read(TABLE + 40 * 16 + 12)).toBe(0);
  });

  test("each entry has an address and data of its own; 8 bytes at once are the low half and the high", () => {
    const machine = started(MSIX);
    machine.configWrite(0, CAP + 2, on, 2);
    program(machine, 0);
    machine.post({ addr: BigInt(TABLE + 39 * 16), data: 0x11_fee2_7003n, width: 8 });
    machine.post({ addr: BigInt(TABLE + 39 * 16 + 8), data: 0x77n, width: 8 });
    expect(machine.post({ addr: BigInt(TABLE + 39 * 16), flags: DIR_READ, width: 8 })).toBe(0x11_fee2_7000n);
    for (const vector of [0, 39, 1]) machine.write(MEMORY, vector);
    expect(machine.asked).toEqual([message(0), "msi 0x11fee27000 0x77"]);
  });

  test("a masked entry's message is pending, also where the whole function is masked", () => {
    const machine = started(MSIX);
    machine.configWrite(0, CAP + 2, on, 2);
    for (const vector of [0, 33, 39]) program(machine, vector);
    machine.configWrite(0, CAP + 2, allMasked, 2);
    for (const vector of [33, 0, 33, 39]) machine.write(MEMORY, vector);
    expect(machine.asked).toEqual([]);
    expect([machine.read(PBA), machine.read(PBA + 4)]).toEqual([1, 0x82]);
    machine.write(TABLE + 33 * 16 + 12, 1);
    machine.configWrite(0, CAP + 2, on, 2);
    expect(machine.asked).toEqual([message(0), message(39)]);
    machine.write(TABLE + 33 * 16 + 12, 0);
    expect(machine.asked).toEqual([message(0), message(39), message(33)]);
    expect([machine.read(PBA), machine.read(PBA + 4)]).toEqual([0, 0]);
  });

  test("what an entry says when it is unmasked is what is sent", () => {
    const machine = started(MSIX);
    machine.configWrite(0, CAP + 2, on, 2);
    program(machine, 2, 1);
    machine.write(MEMORY, 2);
    machine.write(TABLE + 2 * 16 + 8, 0x99);
    machine.write(TABLE + 2 * 16 + 12, 0);
    expect(machine.asked).toEqual(["msi 0xfee02000 0x99"]);
  });

  test("pending bits are the device's: a guest can't write them", () => {
    const machine = started(MSIX);
    machine.configWrite(0, CAP + 2, on, 2);
    machine.write(PBA, ALL);
    expect(machine.read(PBA)).toBe(0);
  });

  test("a vector beyond the table is none", () => {
    const machine = started(MSIX);
    machine.configWrite(0, CAP + 2, on, 2);
    for (const vector of [40, 63, ALL]) machine.write(MEMORY, vector);
    expect(machine.asked).toEqual([]);
    expect([machine.read(PBA), machine.read(PBA + 4)]).toEqual([0, 0]);
  });
});

describe("a message with vector 0, which a guest of Xen has bound to an event channel", () => {
  test("goes by MSI whatever its mask bit says: the guest masks the event channel", () => {
    const machine = started(msi({ vectors: 1 }));
    machine.configWrite(0, 0x44, 0xfee1_7000);
    machine.configWrite(0, 0x48, 0x100);
    machine.configWrite(0, 0x4c, 0x4300, 2);
    machine.configWrite(0, 0x50, 1);
    machine.configWrite(0, 0x42, 1, 2);
    machine.write(MEMORY, 0);
    expect(machine.asked).toEqual(["msi 0x100fee17000 0x4300"]);
  });

  test("goes by MSI-X whatever its entry's mask bit says; the whole function can be masked", () => {
    const machine = started(MSIX);
    machine.write(TABLE + 16, 0xfee1_7000);
    machine.write(TABLE + 24, 0x4300);
    machine.configWrite(0, 0x42, 0xc000, 2);
    machine.write(MEMORY, 1);
    expect([machine.asked, machine.read(PBA)]).toEqual([[], 2]);
    machine.configWrite(0, 0x42, 0x8000, 2);
    machine.write(MEMORY, 1);
    expect(machine.asked).toEqual(["msi 0xfee17000 0x4300", "msi 0xfee17000 0x4300"]);
  });

  test("is any other where the address is no interrupt's", () => {
    const machine = started(MSIX);
    machine.configWrite(0, 0x42, 0x8000, 2);
    machine.write(TABLE, 0x1000);
    machine.write(MEMORY, 0);
    expect([machine.asked, machine.read(PBA)]).toEqual([[], 1]);
  });
});

describe("what both share", () => {
  const enable = (machine: Machine): void => {
    machine.configWrite(0, 0x44, 0xfee0_0000);
    machine.configWrite(0, 0x4c, 0x41, 2);
    machine.configWrite(0, 0x42, 1, 2);
  };

  test("messages are writes of a bus master: they wait for COMMAND", () => {
    const machine = started(msi({ vectors: 1 }));
    enable(machine);
    machine.configWrite(0, COMMAND, 0x0003, 2);
    machine.write(MEMORY, 0);
    expect(machine.asked).toEqual([]);
    machine.configWrite(0, COMMAND, 0x0007, 2);
    expect(machine.asked).toEqual(["msi 0xfee00000 0x41"]);
  });

  test("while messages are enabled the pin stays down, and what it still asks for comes back after", () => {
    const machine = started(msi({ vectors: 1 }));
    machine.write(MEMORY + 4, 1);
    enable(machine);
    machine.configWrite(0, 0x42, 0, 2);
    expect(machine.asked).toEqual(["intx 10.A raise", "intx 10.A lower", "intx 10.A raise"]);
  });

  test("a handler that fails has sent nothing", () => {
    const machine = started(msi({ vectors: 1 }));
    enable(machine);
    machine.write(MEMORY + 8, 0);
    expect(machine.said).toEqual(["device handler failed"]);
    expect(machine.asked).toEqual([]);
    machine.configWrite(0, 0x42, 1, 2);
    expect(machine.asked).toEqual([]);
  });

  test("what a dead process had committed and not sent, its successor sends", () => {
    const machine = started(msi({ vectors: 1 }));
    enable(machine);
    machine.configWrite(0, 0x50, 1);
    machine.write(MEMORY, 0);
    const heir = new Machine([sender(msi({ vectors: 1 }))]);
    heir.restore(machine.data());
    heir.arena.settle((heir.arena.dataAt + 0x50) >>> 2, 0); // the mask, as if the process had died before it was set
    heir.reconnect();
    expect(heir.asked).toContain("msi 0xfee00000 0x41");
  });

  test("reset forgets them: disabled, masked, nothing pending", () => {
    const machine = started(MSIX);
    machine.configWrite(0, 0x42, 0x8000, 2);
    machine.write(MEMORY, 3);
    expect(machine.read(PBA)).toBe(8);
    machine.engine.host(() => machine.tree.reset());
    machine.place();
    expect(machine.configRead(0, 0x42, 2)).toBe(39);
    expect(machine.read(PBA)).toBe(0);
  });

  test("in D3hot nothing is decoded, sent or pulled; in D0 it is as before", () => {
    const machine = started(powerManagement(), msi({ vectors: 1, at: 0x50 }));
    machine.configWrite(0, 0x54, 0xfee0_0000);
    machine.configWrite(0, 0x5c, 0x41, 2);
    machine.configWrite(0, 0x52, 1, 2);
    machine.configWrite(0, 0x44, 3, 2);
    expect(machine.asked).toEqual([expect.stringMatching(/^unmap mmio/)]);
    expect(machine.read(MEMORY)).toBe(ALL);
    machine.configWrite(0, 0x44, 1, 2);
    expect(machine.configRead(0, 0x44, 2) & 3).toBe(3);
    machine.configWrite(0, 0x44, 0, 2);
    machine.write(MEMORY, 0);
    expect(machine.asked.slice(1)).toEqual([expect.stringMatching(/^map mmio/), "msi 0xfee00000 0x41"]);
  });
});
