// SPDX-License-Identifier: MIT
/** Who is blamed for the end of a process: over plain memory, with deaths as the arena shows them. */

import { blame, DEFAULT_DEATHS } from "../../src/cli/blame.js";
import { counter } from "../../src/devices/counter.js";
import { LeftRequests } from "../../src/ioreq/left-requests.js";
import { definePciDevice } from "../../src/pci/define.js";
import type { PciFunction } from "../../src/pci/function.js";
import { PAGE_SIZE, RING, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { HOST_RECORD } from "../../src/state/arena.js";
import { Machine, MEMORY, type Request } from "../support/machine.js";

const memory = definePciDevice({
  name: "memory",
  ident: { vendor: 0x1234, device: 7, classCode: 0x00ff00 },
  bars: { 0: { space: "mem32", size: 4096, regs: { FIRST: { at: 0, rw: 0xffff_ffff } } } },
  attach() {},
});

interface Said {
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

class Mourned extends Machine {
  readonly ring = new ArrayBuffer(PAGE_SIZE);
  readonly log: Said[] = [];

  /** This one dies here. */
  dieIn(begin: () => void): void {
    begin();
    this.#takeOver();
  }

  /** In this request. */
  dieServing(request: Request): void {
    this.dieIn(() => {
      // Posted as one that somebody began to serve, so that nobody serves it here.
      this.post({ ...request, state: STATE.inProcess });
      this.arena.begin(0);
    });
  }

  #takeOver(): void {
    const died = this.arena.recover();
    const left = new LeftRequests({ ioreq: this.page, ring: this.ring, unmap: () => {} });
    const note = (fields: object, message: string): void =>
      void this.log.push({ message, fields: fields as Record<string, unknown> });
    const { arena, tree, quarantine } = this;
    blame(died, {
      arena,
      tree,
      quarantine,
      server: { vcpus: 1, left },
      most: DEFAULT_DEATHS,
      log: { warn: note, error: note },
    });
  }

  get quarantined(): string[] {
    return this.tree.functions.filter(({ state }) => state.quarantined).map(({ label }) => label);
  }

  get last(): Said | undefined {
    return this.log.at(-1);
  }
}

const A = "0000:00:10.0 memory";
const B = "0000:00:11.0 memory";
const SECOND = MEMORY + 4096;

/** Two of them, their BARs one behind the other. */
function neighbours(): Mourned {
  const machine = new Mourned([memory, memory]);
  for (const [fn, base] of [MEMORY, SECOND].entries()) {
    machine.configWrite(fn, 0x10, base);
    machine.configWrite(fn, 0x04, 7, 2);
  }
  return machine;
}

const write = { addr: BigInt(MEMORY), data: 5n, width: 4 };

test("a request in which a process died is named: device, register, value", () => {
  const machine = neighbours();
  machine.dieServing(write);
  expect(machine.last).toEqual({
    message: "a process died in this request",
    fields: expect.objectContaining({ vcpu: 0, device: `${A} bar0`, reg: "FIRST", op: "W", value: "0x5", deaths: 1 }),
  });
  expect(machine.quarantined).toEqual([]);
});

test("the second death in the same request puts its device into quarantine, once", () => {
  const machine = neighbours();
  machine.dieServing(write);
  machine.dieServing(write);
  expect(machine.quarantined).toEqual([A]);
  expect(machine.last).toEqual({
    message: "device quarantined",
    fields: expect.objectContaining({ device: A, deaths: 2, revive: "ioreqd device revive 0 0000:00:10.0" }),
  });
  machine.dieServing(write);
  expect(machine.log.filter(({ message }) => message === "device quarantined")).toHaveLength(1);
});

test("deaths in two requests, of which the first was answered after all, are nobody's fault", () => {
  const machine = neighbours();
  machine.dieServing(write);
  machine.post({ ...write, state: STATE.inProcess });
  expect(machine.engine.resume(0)).toBe("served again");
  machine.dieServing({ ...write, data: 6n });
  expect(machine.quarantined).toEqual([]);
});

test("of an access across two devices the first is suspected first, and then the second", () => {
  const machine = neighbours();
  const across = { ...write, addr: BigInt(SECOND - 2) };
  machine.dieServing(across);
  machine.dieServing(across);
  expect(machine.quarantined).toEqual([A]);
  machine.dieServing(across);
  expect(machine.quarantined).toEqual([A, B]);
});

test("of a rep instruction so are all that its elements come to", () => {
  const machine = neighbours();
  const rep = { ...write, addr: BigInt(MEMORY), count: 1025 };
  for (let death = 0; death < 3; death += 1) machine.dieServing(rep);
  expect(machine.quarantined).toEqual([A, B]);
});

test("an access to configuration space is its function's; one to nobody blames nobody", () => {
  const machine = neighbours();
  const config = { type: TYPE.pciConfig, addr: machine.configAddress(1, 4), data: 0n, width: 2 };
  machine.dieServing(config);
  machine.dieServing(config);
  expect(machine.quarantined).toEqual([B]);
  const nobody = { ...write, addr: 0xe000_0000n };
  for (let death = 0; death < 3; death += 1) machine.dieServing(nobody);
  expect(machine.last?.fields).toMatchObject({ device: "nobody" });
  expect(machine.quarantined).toEqual([B]);
});

test("two deaths within ten minutes in a function's own work put it into quarantine", () => {
  const machine = neighbours();
  const { subject, state } = machine.tree.functions[1] as PciFunction;
  machine.dieIn(() => machine.arena.beginHost(subject));
  expect(machine.last).toEqual({
    message: "a process died in work of this device outside of requests",
    fields: { device: B, deaths: 1 },
  });
  machine.engine.host(() => {}, subject);
  machine.dieIn(() => machine.arena.beginHost(subject));
  expect(machine.quarantined).toEqual([B]);
  expect(state.quarantined).toBe(true);
});

test("deaths that are further apart count as one", () => {
  const { state } = neighbours().tree.functions[0] as PciFunction;
  expect([0, 599_000, 601_000].map((now) => state.noteDeath(now + 5_000_000))).toEqual([1, 2, 1]);
});

test("work that is no device's is only told", () => {
  const machine = neighbours();
  for (let death = 0; death < 3; death += 1) machine.dieIn(() => machine.arena.beginHost());
  expect(machine.last?.message).toBe("a process died in work that is no device's");
  expect(machine.quarantined).toEqual([]);
});

test("an end outside of any work says nothing", () => {
  const machine = neighbours();
  machine.dieIn(() => {});
  expect(machine.log).toEqual([]);
});

describe("an entry of the buffered ring", () => {
  /** One entry: a write of 4 bytes to the first device. */
  function posted(): Mourned {
    const machine = new Mourned([counter, memory]);
    machine.configWrite(1, 0x10, 0x8_0000);
    machine.configWrite(1, 0x04, 7, 2);
    const words = new Int32Array(machine.ring);
    words[RING.slots >>> 2] = (0x8_0000 << 12) | (2 << 10) | TYPE.copy;
    words[(RING.slots >>> 2) + 1] = 9;
    words[RING.writePointer >>> 2] = 1;
    return machine;
  }

  test("that ends two processes is named, and its device goes into quarantine, whatever else ran in between", () => {
    const machine = posted();
    machine.dieIn(() => machine.arena.beginHost(0, 0, 1));
    expect(machine.last?.fields).toMatchObject({ vcpu: "ring", device: `${B} bar0`, value: "0x9", deaths: 1 });
    machine.engine.host(() => {});
    machine.dieIn(() => machine.arena.beginHost(0, 0, 1));
    expect(machine.quarantined).toEqual([B]);
  });

  test("that was applied after all is forgotten", () => {
    const machine = posted();
    machine.dieIn(() => machine.arena.beginHost(0, 0, 1));
    machine.engine.hostWork.applyBuffered(TYPE.copy, 0x8_0000, 4, 9, 0, 0, 1);
    machine.engine.hostWork.advanced();
    expect(machine.arena.record(HOST_RECORD).deaths).toBe(0);
  });
});

test("a request that comes to no device is nobody's, whatever its count", () => {
  const machine = neighbours();
  for (const more of [{ count: 0xffff_ffff }, { count: 4096, width: 8 }, { width: 0x7fff_ffff }, { width: 0 }]) {
    machine.dieServing({ addr: BigInt(MEMORY), ...more });
    machine.dieServing({ addr: BigInt(MEMORY), ...more });
  }
  expect(machine.quarantined).toEqual([]);
});
