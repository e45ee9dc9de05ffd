// SPDX-License-Identifier: MIT
/** Programs of messages.test.ts: what of messages only a simulated host can show, their delivery. */

import type { GuestMsi, GuestVcpu } from "../../src/sim/guest.js";
import { CAPABILITY, COMMAND, CONFIG, MSI, MSIX } from "../../src/spec/pci.js";
import { check, equal, equalEach, use } from "../guest-suite/case.js";
import { ENTRY, MSI_AT, msixProbe, PROBE, type Probe } from "../guest-suite/msix-probe.js";

const ADDRESS = 0xfee0_0000;
/** Data of vector n: unlike each other, with an interrupt of fixed delivery mode in the low half. */
const dataOf = (vector: number): number => vector * 0x1_0000 + 0x30;
const addressOf = (vector: number): number => ADDRESS + ((vector & 0xff) << 12);
const WAIT_MS = 10_000;

/** Fill in every entry, with this vector control. */
function program(vcpu: GuestVcpu, { entry, vectors }: Probe, control: number): void {
  for (let n = 0; n < vectors; n += 1) {
    vcpu.batch([
      { gpa: entry(n) + ENTRY.address, width: 4, value: addressOf(n) },
      { gpa: entry(n) + ENTRY.addressHigh, width: 4, value: 0 },
      { gpa: entry(n) + ENTRY.data, width: 4, value: dataOf(n) },
      { gpa: entry(n) + ENTRY.control, width: 4, value: control },
    ]);
  }
}

const setMask = (vcpu: GuestVcpu, { entry }: Probe, vector: number, masked: boolean): void =>
  vcpu.write(entry(vector) + ENTRY.control, 4, masked ? MSIX.masked : 0);

/** All that came. An access that sends a message is answered after it was sent, so nothing has to be waited for. */
function taken(vcpu: GuestVcpu): GuestMsi[] {
  const all: GuestMsi[] = [];
  for (let one = vcpu.takeMsi(); one !== null; one = vcpu.takeMsi()) all.push(one);
  return all;
}

/** The vectors that came, in their order. Each must have its own address. */
function vectorsOf(messages: readonly GuestMsi[]): number[] {
  return messages.map(({ addr, data }) => {
    const vector = (data - dataOf(0)) / 0x1_0000;
    equal(addr, BigInt(addressOf(vector)), `the address that came with data 0x${data.toString(16)}`);
    return vector;
  });
}

const same = (actual: readonly number[], expected: readonly number[], what: string): void =>
  check(actual.join() === expected.join(), `${what}: ${actual} where ${expected} were due`);

const everyVector = ({ vectors }: Probe): number[] => Array.from({ length: vectors }, (_, n) => n);

function unmasked(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  program(vcpu, probe, 0);
  probe.msix(MSIX.enable);
  probe.fire(...everyVector(probe));
  const came = vectorsOf(taken(vcpu));
  equal(came.length, probe.vectors, "messages");
  equalEach(
    came,
    (n) => n,
    (n) => `message ${n}`,
  );
  equal(probe.read(PROBE.sent), probe.vectors, "messages that the device counted as sent");
  equal(probe.read(PROBE.waited), 0, "messages that waited");
}

function maskedOneByOne(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  program(vcpu, probe, MSIX.masked);
  probe.msix(MSIX.enable);
  const twice = [...everyVector(probe), ...everyVector(probe)];
  probe.fire(...twice);
  same(vectorsOf(taken(vcpu)), [], "messages of masked entries");
  equal(probe.read(PROBE.waited), probe.vectors, "messages that wait");
  // From the last to the first: what goes is decided by the guest, not by when it was asked for.
  for (const vector of everyVector(probe).reverse()) {
    setMask(vcpu, probe, vector, false);
    same(vectorsOf(taken(vcpu)), [vector], `messages when entry ${vector} was unmasked`);
    setMask(vcpu, probe, vector, true);
    setMask(vcpu, probe, vector, false);
    same(vectorsOf(taken(vcpu)), [], `messages when entry ${vector} was unmasked again`);
  }
  equal(vcpu.read(probe.pba, 4), 0, "pending bits at the end");
  equal(probe.read(PROBE.late), probe.vectors, "messages sent late");
  equal(probe.read(PROBE.sent), probe.vectors, "messages sent");
}

function functionMasked(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  const [first, second, last] = [0, 1, probe.vectors - 1] as const;
  program(vcpu, probe, 0);
  setMask(vcpu, probe, second, true);
  probe.msix(MSIX.enable | MSIX.functionMask);
  probe.fire(last, second, first, last);
  same(vectorsOf(taken(vcpu)), [], "messages of a masked function");
  probe.msix(MSIX.enable);
  same(vectorsOf(taken(vcpu)).sort(), [first, last], "messages when the function was unmasked");
  setMask(vcpu, probe, second, false);
  same(vectorsOf(taken(vcpu)), [second], "messages when the entry was unmasked too");
}

/** Nothing is asked of the guest but to be a bus master, and to have messages enabled. */
function held(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  const { bdf } = probe.fn;
  program(vcpu, probe, 0);
  probe.msix(MSIX.enable);
  const command = vcpu.configRead(bdf, CONFIG.command, 2);
  vcpu.configWrite(bdf, CONFIG.command, 2, command & ~COMMAND.busMaster);
  probe.fire(1, 1);
  same(vectorsOf(taken(vcpu)), [], "messages of a function that is no bus master");
  vcpu.configWrite(bdf, CONFIG.command, 2, command);
  same(vectorsOf(taken(vcpu)), [1], "messages when it is one again");
  setMask(vcpu, probe, 0, true);
  probe.fire(0);
  probe.msix(0);
  setMask(vcpu, probe, 0, false);
  same(vectorsOf(taken(vcpu)), [], "messages while none are enabled");
  probe.msix(MSIX.enable);
  same(vectorsOf(taken(vcpu)), [0], "messages when they are enabled again");
}

/** One vCPU asks while the other masks and unmasks: none is lost, none comes twice. */
function raced(vcpu: GuestVcpu): void {
  const rounds = 2000;
  // One of them places the BARs, the other finds them placed.
  if (vcpu.id === 0) {
    program(vcpu, msixProbe(vcpu), 0);
    msixProbe(vcpu).msix(MSIX.enable);
  }
  vcpu.barrier();
  const probe = msixProbe(vcpu);
  for (let round = 0; round < rounds; round += 1) {
    if (vcpu.id === 0) probe.fire(round % probe.vectors);
    else setMask(vcpu, probe, round % 3, round % 2 === 0);
  }
  vcpu.barrier();
  if (vcpu.id !== 0) return;
  for (const vector of everyVector(probe)) setMask(vcpu, probe, vector, false);
  const came = vectorsOf(taken(vcpu));
  equal(probe.read(PROBE.asked), rounds, "messages asked for");
  equal(probe.read(PROBE.sent), came.length, "messages that the device counted as sent");
  equal(probe.read(PROBE.sent) + probe.read(PROBE.merged), rounds, "messages sent and merged");
  for (const vector of everyVector(probe)) {
    probe.write(PROBE.select, vector);
    equal(probe.read(PROBE.vectorSent), came.filter((one) => one === vector).length, `messages of vector ${vector}`);
  }
}

function byMsi(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  const { bdf } = probe.fn;
  const at = probe.capability(CAPABILITY.msi);
  const enable = (log2: number): void =>
    vcpu.configWrite(bdf, at + MSI_AT.control, 2, MSI.enable | (log2 << MSI.enabledShift));
  const data = (): number[] => taken(vcpu).map((message) => message.data);
  vcpu.configWrite(bdf, at + MSI_AT.address, 4, ADDRESS);
  vcpu.configWrite(bdf, at + MSI_AT.data, 2, 0x40);
  vcpu.configWrite(bdf, at + MSI_AT.mask, 4, 0b0110);
  enable(3);
  probe.fire(0, 1, 2, 7, 1);
  same(data(), [0x40, 0x47], "messages of MSI that are not masked");
  equal(vcpu.configRead(bdf, at + MSI_AT.pending, 4), 0b0110, "pending bits");
  vcpu.configWrite(bdf, at + MSI_AT.mask, 4, 0b0100);
  same(data(), [0x41], "messages when 1 was unmasked");
  vcpu.configWrite(bdf, at + MSI_AT.mask, 4, 0);
  same(data(), [0x42], "messages when 2 was unmasked");
  enable(1);
  probe.fire(0, 1, 6, 7);
  same(data(), [0x40, 0x41, 0x40, 0x41], "messages when two are allowed");
}

/** As Linux on a Xen before 4.19 programs it: the mask stays as it was, the number of an event channel is in the address. */
function eventChannels(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  vcpu.write(probe.entry(2) + ENTRY.address, 4, ADDRESS | (55 << 12));
  vcpu.write(probe.entry(2) + ENTRY.data, 4, 0x4300);
  probe.msix(MSIX.enable);
  probe.fire(2, 3, 2);
  const came = taken(vcpu).map(({ addr, data }) => `${addr.toString(16)} ${data.toString(16)}`);
  check(came.join() === "fee37000 4300,fee37000 4300", `messages to an event channel: ${came}`);
}

/** The pin is for a guest that wants no messages. */
function pinOrMessages(vcpu: GuestVcpu): void {
  const probe = msixProbe(vcpu);
  const { gsi } = probe.fn;
  probe.write(PROBE.line, 1);
  check(vcpu.waitGsi(gsi, true, WAIT_MS), "the line does not come up");
  probe.msix(MSIX.enable);
  check(vcpu.waitGsi(gsi, false, WAIT_MS), "the line stays up while messages are enabled");
  probe.msix(0);
  check(vcpu.waitGsi(gsi, true, WAIT_MS), "the line does not come back");
  probe.write(PROBE.line, 0);
}

/** A message that no access asked for: when the computation is done. */
function eduDone(vcpu: GuestVcpu): void {
  const { bdf, bars, gsi } = use(vcpu, "edu");
  const base = bars[0] as number;
  const [factorial, status, irqStatus] = [0x08, 0x20, 0x24];
  vcpu.configWrite(bdf, 0x44, 4, ADDRESS);
  vcpu.configWrite(bdf, 0x4c, 2, 0x61);
  vcpu.configWrite(bdf, 0x42, 2, MSI.enable);
  vcpu.write(base + status, 4, 0x80);
  vcpu.write(base + factorial, 4, 10);
  const message = vcpu.waitMsi(WAIT_MS);
  check(message?.data === 0x61, `edu's message was ${message?.data}`);
  equal(vcpu.read(base + factorial, 4), 3_628_800, "10!");
  equal(vcpu.read(base + irqStatus, 4), 1, "edu's interrupt status");
  check(!vcpu.gsiLevel(gsi), "edu's line is up as well");
}

export const PROGRAMS: Readonly<Record<string, (vcpu: GuestVcpu) => void>> = {
  unmasked,
  maskedOneByOne,
  functionMasked,
  held,
  raced,
  byMsi,
  eventChannels,
  pinOrMessages,
  eduDone,
};

export default function messages(vcpu: GuestVcpu): void {
  const [name = ""] = vcpu.arguments;
  const found = PROGRAMS[name];
  if (found === undefined) throw new Error(`there is no program "${name}"`);
  found(vcpu);
}
