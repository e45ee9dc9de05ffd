// SPDX-License-Identifier: MIT
/** The guest that walk.ts has, and its devices. */

import { join } from "node:path";

/** Where in guest memory it says that the guest may go on. */
export const GO_ON = 0x1000;

/** Uses all that a device model has: configuration space, BARs that move, DMA both ways, a line, messages, a serial line, the ring. */
export const GUEST = `
  const EDU = 0xf0000000, PROBE = 0xf1000000;
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  module.exports = (vcpu) => {
    const place = (bdf, ...bars) => {
      bars.forEach((at, i) => vcpu.configWrite(bdf, 0x10 + 4 * i, 4, at));
      vcpu.configWrite(bdf, 4, 2, 7);
    };
    place("00:10.0", EDU);
    vcpu.step("begun");
    const stop = new Int32Array(vcpu.ram.buffer, ${GO_ON}, 1);
    if (vcpu.arguments[0] === "waits") while (Atomics.load(stop, 0) === 0) vcpu.read(EDU + 4, 4);
    const dma = (from, to, command) => {
      vcpu.write(EDU + 0x80, 8, BigInt(from)); vcpu.write(EDU + 0x88, 8, BigInt(to));
      vcpu.write(EDU + 0x90, 8, 64n); vcpu.write(EDU + 0x98, 4, command);
      while (vcpu.read(EDU + 0x98, 4) & 1);
    };
    place("00:11.0", PROBE, PROBE + 0x10000, PROBE + 0x20000);
    place("00:12.0", 0xc100);
    vcpu.ramWrite(0x4000, new Uint8Array(64).fill(7));
    dma(0x4000, 0x40000, 1);
    dma(0x40000, 0x5000, 3);
    must(vcpu.ramRead(0x5000, 64).every((byte) => byte === 7), "what was copied is not what was sent");
    vcpu.write(EDU + 0x60, 4, 1); vcpu.write(EDU + 0x64, 4, 1);
    place("00:10.0", EDU + 0x2000000);
    must(vcpu.read(EDU + 0x2000000, 4) === 0x10000ed, "edu is not where it went");
    vcpu.write(PROBE + 0x10000, 4, 0xfee00000); vcpu.write(PROBE + 0x10008, 4, 0x31); vcpu.write(PROBE + 0x1000c, 4, 0);
    vcpu.configWrite("00:11.0", 0x9c + 2, 2, 0x8000);
    vcpu.write(PROBE + 8, 4, 0);
    must(vcpu.waitMsi()?.data === 0x31, "no message");
    vcpu.out8(0xc100, 65);
    vcpu.vgaWrite(0xa0000, 4, 1);
    vcpu.invalidate();
  };
`;

export const devices = (directory: string): string[] =>
  [
    "edu,addr=10.0,delay=1",
    "msix-probe,addr=11.0",
    `pci-serial,addr=12.0,chardev=unix:${join(directory, "serial")}`,
  ].flatMap((spec) => ["--device", spec]);
