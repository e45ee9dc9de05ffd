// SPDX-License-Identifier: MIT
/** The devices of examples/, loaded as an operator's own are. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { loadDefault } from "../../src/base/load-module.js";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import type { PciDevice } from "../../src/pci/define.js";
import { Machine, MEMORY } from "../support/machine.js";

const EXAMPLES = join(PACKAGE_ROOT, "examples");
const load = (name: string): PciDevice => loadDefault(join(EXAMPLES, name)) as PciDevice;

test.each(readdirSync(EXAMPLES).filter((name) => name.endsWith(".ts") && !name.endsWith("-guest.ts")))(
  "%s is a device whose table is in order",
  (name) => {
    const machine = new Machine([load(name)]);
    machine.place();
    expect(machine.configRead(0, 0, 2)).toBe(0x1234);
    machine.end();
  },
);

describe("alarm.ts", () => {
  const [SET, RANG] = [MEMORY, MEMORY + 4];
  const TABLE = MEMORY + 0x0100_0000;
  const MSIX_CONTROL = 0x62;

  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  test("rings by its pin until that is acknowledged, where no messages are enabled", () => {
    const machine = new Machine([load("alarm.ts")]);
    machine.place();
    machine.write(SET, 50);
    jest.advanceTimersByTime(60);
    expect(machine.read(RANG)).toBe(1);
    machine.write(RANG, 1);
    expect(machine.asked).toEqual(["intx 10.A raise", "intx 10.A lower"]);
  });

  test("rings by message where MSI-X is enabled", () => {
    const machine = new Machine([load("alarm.ts")]);
    machine.place();
    expect(machine.configRead(0, MSIX_CONTROL - 2, 1)).toBe(0x11);
    machine.configWrite(0, MSIX_CONTROL, 0x8000, 2);
    for (const [at, value] of [
      [0, 0xfee0_0000],
      [8, 0x41],
      [12, 0],
    ] as const)
      machine.write(TABLE + at, value);
    machine.write(SET, 50);
    jest.advanceTimersByTime(60);
    expect(machine.asked).toEqual(["msi 0xfee00000 0x41"]);
  });
});
