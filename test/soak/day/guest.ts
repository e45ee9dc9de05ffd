// SPDX-License-Identifier: MIT
/** The guest of a day. Words: ticks, and real milliseconds of each. What it sees it verifies. */

import type { GuestVcpu } from "../../../src/sim/guest.js";
import { COMMAND, CONFIG, MSIX } from "../../../src/spec/pci.js";
import { ENTRY, PROBE, walk } from "../../guest-suite/msix-probe.js";
import { must, switchOn } from "../guest/machine.js";
import { AT, BARS, type Bar, MOVES, moverBars, RING } from "../places.js";
import { DONE_AT, EVERY, PER_TICK } from "./rates.js";

const EDU = BARS.edu[0].at;
const REG = { live: 0x04, factorial: 0x08, status: 0x20, irqAck: 0x64, src: 0x80, dst: 0x88, count: 0x90, cmd: 0x98 };
const CARD = 0x4_0000;
const PAGE = 4096;
/**
 * Of guest memory that copies go through: in a day, more windows than the device model keeps mapped; in less time so few that
 * all of them are mapped soon.
 */
const COPIED = { from: 0x10_0000, window: 0x1_0000, most: 192, ticksEach: 16 } as const;
/** What goes to the serial line. */
const TEXT = 0x9000;
const MSIX_CAPABILITY = 0x11;
const [NEXT, SCRATCH] = [0x00, 0x0c] as const;

export default function day(vcpu: GuestVcpu): void {
  const [ticks = 0, tickMs = 0] = vcpu.arguments.map(Number);
  const done = new Int32Array(vcpu.ram.buffer, DONE_AT, 1);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const devices = ["counter", "edu", "probe", "serial", "ring"] as const;
  let [next, put, place, window] = [0, 0, 0, 0];
  const windows = Math.min(COPIED.most, Math.ceil(ticks / COPIED.ticksEach));

  const mover = (): readonly [Bar, Bar] => moverBars(0, place, place);
  function enumerate(): void {
    for (const name of devices) vcpu.configWrite(AT[name], CONFIG.command, 2, 0);
    for (const name of devices) switchOn(vcpu, AT[name], BARS[name]);
    switchOn(vcpu, AT.movers[0], mover());
    const capability = walk(vcpu, AT.probe).find(([id]) => id === MSIX_CAPABILITY)?.[1] ?? 0;
    const entry = BARS.probe[1].at;
    vcpu.write(entry + ENTRY.address, 4, 0xfee0_0000);
    vcpu.write(entry + ENTRY.data, 4, 0x31);
    vcpu.write(entry + ENTRY.control, 4, 0);
    vcpu.configWrite(AT.probe, capability + 2, 2, MSIX.enable);
  }
  function copy(from: number, to: number, command: number, bytes = PAGE): void {
    vcpu.write(EDU + REG.src, 8, BigInt(from));
    vcpu.write(EDU + REG.dst, 8, BigInt(to));
    vcpu.write(EDU + REG.count, 8, BigInt(bytes));
    vcpu.write(EDU + REG.cmd, 4, command);
    // It takes a second of the device's time.
    while ((vcpu.read(EDU + REG.cmd, 4) & 1) !== 0) Atomics.wait(pause, 0, 0, 1);
  }
  function thereAndBack(): void {
    window = (window + 1) % windows;
    const from = COPIED.from + window * COPIED.window;
    vcpu.ramWrite(from, new Uint8Array(PAGE).fill(window + 1));
    copy(from, CARD, 1);
    copy(CARD, from + PAGE, 3);
    must(vcpu.ramRead(from + PAGE, 1)[0] === window + 1, "what was copied is not what was sent");
  }
  function compute(): void {
    vcpu.write(EDU + REG.status, 4, 0x80);
    vcpu.write(EDU + REG.factorial, 4, 5);
    while ((vcpu.read(EDU + REG.status, 4) & 1) !== 0) Atomics.wait(pause, 0, 0, 1);
    must(vcpu.gsiLevel(vcpu.gsiOf(0x11, 0)), "edu does not interrupt");
    must(vcpu.read(EDU + REG.factorial, 4) === 120, "5! is not 120");
    vcpu.write(EDU + REG.irqAck, 4, 0xffff_ffff);
  }
  function move(): void {
    const scratch = vcpu.read(mover()[0].at + SCRATCH, 4);
    place = (place + 5) % MOVES;
    switchOn(vcpu, AT.movers[0], mover());
    must(vcpu.read(mover()[0].at + SCRATCH, 4) === scratch, "what moved has forgotten something");
    vcpu.write(mover()[0].at + SCRATCH, 4, place);
  }
  function tick(): void {
    const counter = BARS.counter[0].at;
    for (let i = 0; i < PER_TICK.counterReads; i += 1) {
      must(vcpu.read(counter + NEXT, 4) === next, () => `the counter is not at ${next}`);
      next += 1;
    }
    must(vcpu.repIns(BARS.counter[1].at, 0x8000, 4, PER_TICK.repElements) === PER_TICK.repElements, "a short rep ins");
    next += PER_TICK.repElements;
    for (let i = 0; i < PER_TICK.liveChecks; i += 1) {
      vcpu.write(EDU + REG.live, 4, next + i);
      must(vcpu.read(EDU + REG.live, 4) === ~(next + i) >>> 0, "LIVE is not inverted");
    }
    for (let i = 0; i < PER_TICK.configReads; i += 1) vcpu.configRead(AT.hot, CONFIG.vendor, 4);
    for (let i = 0; i < PER_TICK.messages; i += 1) {
      vcpu.write(BARS.probe[0].at + PROBE.fire, 4, 0);
      must(vcpu.takeMsi() !== null, "no message");
    }
    while (vcpu.takeMsi() !== null); // again, of a process that was killed
    vcpu.repOuts(BARS.serial[0].at, TEXT, 1, PER_TICK.serialBytes);
    for (let i = 0; i < PER_TICK.bufferedWrites; i += 1) vcpu.vgaWrite(BARS.ring[1].at + RING.put, 4, ++put);
    must(vcpu.read(BARS.ring[0].at + RING.count, 4) === put, "a buffered write is missing");
    for (let i = 0; i < PER_TICK.copies; i += 1) thereAndBack();
    for (let i = 0; i < PER_TICK.computations; i += 1) compute();
    for (let i = 0; i < PER_TICK.mistakes; i += 1) copy(COPIED.from, CARD, 1, PAGE * 2);
  }

  vcpu.ramWrite(TEXT, new Uint8Array(PER_TICK.serialBytes).fill(0x2e));
  enumerate();
  vcpu.step("begun");
  const began = performance.now();
  for (let n = 1; n <= ticks; n += 1) {
    tick();
    Atomics.store(done, 0, n);
    if (n % EVERY.move === 0) move();
    if (n % EVERY.reset === 0) enumerate();
    const early = n * tickMs - (performance.now() - began);
    if (early > 0) Atomics.wait(pause, 0, 0, early);
  }
  vcpu.configWrite(AT.edu, CONFIG.command, 2, COMMAND.memory);
}
