// SPDX-License-Identifier: MIT
/** msix-probe: every message comes, those that are masked when they are unmasked; and only what was asked for. */

import { MSIX } from "../../../src/spec/pci.js";
import { ENTRY, PROBE, walk } from "../../guest-suite/msix-probe.js";
import { AT, BARS, RAM } from "../places.js";
import { equal, type Machine, must, type Witness } from "./machine.js";

const [{ at: BASE }, { at: TABLE }] = BARS.probe;
const PBA = TABLE + 0x8000;
const VECTORS = 8;
const ADDRESS = 0xfee0_0000;
const CAPABILITY = 0x11;
const dataOf = (vector: number): number => (vector + 1) * 0x1_0000 + 0x30;

export function messages({ vcpu, random }: Machine): Witness {
  const bdf = AT.probe;
  const capability = walk(vcpu, bdf).find(([id]) => id === CAPABILITY)?.[1] ?? 0;
  must(capability !== 0, "msix-probe has no MSI-X capability");
  const read = (at: number): number => vcpu.read(BASE + at, 4);
  const fire = (vector: number): void => vcpu.write(BASE + PROBE.fire, 4, vector);
  const setMask = (vector: number, masked: boolean): void =>
    vcpu.write(TABLE + vector * MSIX.entrySize + ENTRY.control, 4, masked ? MSIX.masked : 0);
  const control = (bits: number): void => vcpu.configWrite(bdf, capability + 2, 2, bits);
  let [asked, sent, waited, again] = [0, 0, 0, 0];

  for (let n = 0; n < VECTORS; n += 1) {
    const entry = TABLE + n * MSIX.entrySize;
    vcpu.write(entry + ENTRY.address, 4, ADDRESS + (n << 12));
    vcpu.write(entry + ENTRY.data, 4, dataOf(n));
    setMask(n, false);
  }
  control(MSIX.enable);

  /** A message is sent before the access is answered that lets it go. */
  function came(expected: readonly number[], when: string): void {
    const counts = new Map(expected.map((vector) => [vector, 0]));
    for (let one = vcpu.takeMsi(); one !== null; one = vcpu.takeMsi()) {
      const vector = Array.from({ length: VECTORS }, (_, n) => n).find((n) => dataOf(n) === one.data) ?? -1;
      equal(Number(one.addr), ADDRESS + (vector << 12), `the address of message ${vector}`);
      must(counts.has(vector), `message ${vector} came ${when}, where ${expected.join() || "none"} was due`);
      counts.set(vector, (counts.get(vector) as number) + 1);
    }
    for (const [vector, times] of counts) {
      must(times > 0, `message ${vector} did not come ${when}`);
      again += times - 1;
    }
    sent += expected.length;
  }
  function unmasked(): void {
    const vector = random.between(0, VECTORS - 1);
    fire(vector);
    asked += 1;
    came([vector], "when it was asked for");
  }
  function masked(): void {
    const vector = random.between(0, VECTORS - 1);
    setMask(vector, true);
    const times = random.between(1, 3);
    for (let i = 0; i < times; i += 1) fire(vector);
    asked += times;
    waited += 1;
    came([], "while it was masked");
    equal(vcpu.read(PBA, 4), 1 << vector, "the pending bits");
    setMask(vector, false);
    came([vector], "when it was unmasked");
    equal(vcpu.read(PBA, 4), 0, "the pending bits, nothing masked");
  }
  /** The whole function: what waited goes in one access. */
  function functionMasked(): void {
    const vectors = [...new Set([random.between(0, VECTORS - 1), random.between(0, VECTORS - 1)])];
    control(MSIX.enable | MSIX.functionMask);
    for (const vector of vectors) fire(vector);
    asked += vectors.length;
    waited += vectors.length;
    came([], "while the function was masked");
    control(MSIX.enable);
    came(vectors, "when the function was unmasked");
  }

  return {
    round: () => random.pick([unmasked, unmasked, masked, functionMasked])(),
    finish() {
      came([], "at the end");
      equal(read(PROBE.asked), asked, "messages that msix-probe was asked for");
      equal(read(PROBE.sent), sent, "messages that msix-probe counts as sent");
      equal(read(PROBE.waited), waited, "messages that msix-probe counts as having waited");
      equal(read(PROBE.merged), asked - sent, "messages that msix-probe counts as merged");
      equal(read(PROBE.lost), 0, "messages that msix-probe counts as lost");
      const launches = vcpu.ramView.getInt32(RAM.launches, true);
      must(again <= launches, `${again} messages came again, with ${launches} processes`);
      return { messages: sent, "of them masked at first": waited, "messages that came again": again };
    },
  };
}
