// SPDX-License-Identifier: MIT
/** Each device in a conversation, as a golden file: documentation that can't go stale. */

import { readFileSync } from "node:fs";
import { counter } from "../../src/devices/counter.js";
import { edu } from "../../src/devices/edu.js";
import { devices } from "../../src/devices/index.js";
import { msixProbe } from "../../src/devices/msix-probe.js";
import { pciBridge } from "../../src/devices/pci-bridge.js";
import { pciSerial } from "../../src/devices/pci-serial.js";
import { pciTestdev } from "../../src/devices/pci-testdev.js";
import { pcieRootPort } from "../../src/devices/pcie-root-port.js";
import { pvpanic } from "../../src/devices/pvpanic.js";
import { q35Host } from "../../src/devices/q35-host.js";
import { Conversation, GOLDEN } from "./conversation.js";

test("edu", async () => {
  const talk = new Conversation(edu, { delay: 0 });
  const irq = (): boolean => talk.machine.asked.length > 0;
  talk.say("who are you, and are you alive?");
  talk.r(0, 0x00);
  talk.w(0, 0x04, 0x1234_5678);
  talk.r(0, 0x04);
  talk.say("a factorial takes time; interrupt when done");
  talk.w(0, 0x20, 0x80);
  talk.w(0, 0x08, 12);
  talk.r(0, 0x20);
  await talk.until("computed", irq);
  talk.r(0, 0x20);
  talk.r(0, 0x08);
  talk.r(0, 0x24);
  talk.w(0, 0x64, 0x1);
  talk.say("interrupts can be raised and acknowledged bit by bit");
  talk.w(0, 0x60, 0x6);
  talk.w(0, 0x64, 0x2);
  talk.w(0, 0x64, 0x4);
  talk.say("DMA: 16 bytes from memory to the card, then back elsewhere");
  talk.machine.ram.set(Buffer.from("what goes around"), 0x1000);
  for (const [at, value] of [
    [0x80, 0x1000],
    [0x88, 0x4_0000],
    [0x90, 16],
    [0x98, 0x5],
  ] as const)
    talk.w(0, at, value);
  await talk.until("transferred", irq);
  talk.w(0, 0x64, 0x100);
  for (const [at, value] of [
    [0x80, 0x4_0000],
    [0x88, 0x2000],
    [0x90, 16],
    [0x98, 0x7],
  ] as const)
    talk.w(0, at, value);
  await talk.until("transferred", irq);
  talk.w(0, 0x64, 0x100);
  expect(Buffer.from(talk.machine.ram.slice(0x2000, 0x2010)).toString()).toBe("what goes around");
  talk.say("DMA beyond the card's buffer is refused, and still ends");
  talk.w(0, 0x90, 4097);
  talk.w(0, 0x98, 0x7);
  await talk.until("ended", irq);
  talk.r(0, 0x98);
  talk.say("accesses it does not take: narrow ones, and 8 bytes below 0x80");
  talk.r(0, 0x04, 2);
  talk.r(0, 0x0c);
  talk.say("with MSI each interrupt is a message");
  talk.w(0, 0x64, 0x100);
  talk.config(0x44, 0xfee0_0000);
  talk.config(0x4c, 0x41, 2);
  talk.config(0x42, 0x1, 2);
  talk.w(0, 0x60, 0x1);
  talk.w(0, 0x60, 0x1);
  talk.w(0, 0x64, 0x1);
  talk.end("edu");
});

test("pci-serial", () => {
  const talk = new Conversation(pciSerial);
  talk.say("speed and format; FIFOs on, trigger at 8");
  talk.w(0, 3, 0x83, 1);
  talk.w(0, 0, 0x01, 1);
  talk.w(0, 1, 0x00, 1);
  talk.r(0, 0, 1);
  talk.w(0, 3, 0x03, 1);
  talk.w(0, 2, 0x87, 1);
  talk.say("sending: empty at once, and the transmitter's interrupt says so");
  talk.w(0, 1, 0x02, 1);
  talk.r(0, 2, 1);
  talk.r(0, 2, 1);
  talk.w(0, 0, 0x48, 1);
  talk.w(0, 0, 0x69, 1);
  talk.r(0, 2, 1);
  talk.r(0, 5, 1);
  talk.say("receiving: an interrupt at the eighth byte");
  talk.w(0, 1, 0x01, 1);
  talk.receive("1234567");
  talk.receive("8");
  talk.r(0, 2, 1);
  for (let i = 0; i < 8; i += 1) talk.r(0, 0, 1);
  talk.r(0, 5, 1);
  talk.say("in loopback what is sent is received; too much is an overrun");
  talk.w(0, 4, 0x1f, 1);
  talk.r(0, 6, 1);
  talk.w(0, 1, 0x04, 1);
  for (let i = 0; i < 17; i += 1) talk.w(0, 0, 0x61 + i, 1);
  talk.r(0, 2, 1);
  talk.r(0, 5, 1);
  talk.r(0, 5, 1);
  talk.end("pci-serial");
});

test("pci-testdev", () => {
  const talk = new Conversation(pciTestdev);
  for (const bar of [0, 1]) {
    talk.say(`BAR ${bar}: start the test, do as the header says`);
    talk.w(bar, 0x00, 0, 1);
    talk.r(bar, 0x01, 1);
    talk.r(bar, 0x04);
    talk.r(bar, 0x08);
    talk.r(bar, 0x10);
    talk.w(bar, 0x80, 0xfa, 1);
    talk.w(bar, 0x80, 0xfa, 1);
    talk.w(bar, 0x80, 0xfb, 1);
    talk.r(bar, 0x0c);
    talk.say("there is no test 1");
    talk.w(bar, 0x00, 1, 1);
    talk.r(bar, 0x00, 1);
    talk.r(bar, 0x01, 1);
  }
  talk.end("pci-testdev");
});

test("pvpanic", () => {
  const talk = new Conversation(pvpanic, { events: 3 });
  talk.say("which events? then a panic, a crash kernel, and one it does not take");
  talk.r(0, 0, 1);
  talk.w(0, 0, 1, 1);
  talk.w(0, 0, 2, 1);
  talk.w(0, 0, 4, 1);
  talk.end("pvpanic");
});

test("counter", async () => {
  const talk = new Conversation(counter);
  talk.say("every read is the next integer, through memory and ports");
  talk.r(0, 0x00);
  talk.r(0, 0x00);
  talk.r(1, 0x00);
  talk.r(0, 0x04);
  talk.say("a narrow read counts once too");
  talk.r(0, 0x00, 1);
  talk.w(0, 0x08, 1);
  talk.r(0, 0x00);
  talk.end("counter");
});

test("msix-probe", () => {
  const talk = new Conversation(msixProbe, { vectors: 2 });
  talk.say("how many messages? none is allowed yet, so one asked for is lost");
  talk.r(0, 0x00);
  talk.r(0, 0x04);
  talk.w(0, 0x08, 0);
  talk.r(0, 0x24);
  talk.say("the pin, without messages");
  talk.w(0, 0x0c, 1);
  talk.w(0, 0x0c, 0);
  talk.say("MSI-X: table entries begin masked; 0 is unmasked, 1 only filled in");
  talk.config(0x9e, 0x8000, 2);
  talk.r(0, 0x04);
  talk.r(1, 0x0c);
  for (const vector of [0, 1]) {
    talk.w(1, vector * 16, 0xfee0_0000);
    talk.w(1, vector * 16 + 8, 0x41 + vector);
  }
  talk.w(1, 0x0c, 0);
  talk.say("0 goes at once; 1 is pending, and a second one is merged with it");
  talk.w(0, 0x08, 0);
  talk.w(0, 0x08, 1);
  talk.w(0, 0x08, 1);
  talk.r(1, 0x8000);
  talk.say("unmasked it goes, once");
  talk.w(1, 0x1c, 0);
  talk.r(1, 0x8000);
  talk.say("asked, sent, waited, late, merged, lost; then asked, sent, waited, late of vector 1");
  for (const at of [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24]) talk.r(0, at);
  talk.w(0, 0x40, 1);
  for (const at of [0x44, 0x48, 0x4c, 0x50]) talk.r(0, at);
  talk.end("msix-probe");
});

test("pci-bridge", () => {
  const talk = new Conversation(pciBridge, {}, [counter]);
  talk.say("behind a bridge without bus numbers nobody is reached");
  talk.configRead(0x00, 4, 1);
  talk.say("bus 1 behind it: Xen is told of what is there");
  talk.config(0x18, 0x0001_0100);
  talk.configRead(0x00, 4, 1);
  talk.say("a window for memory, and a BAR in it");
  talk.config(0x20, 0xf000_f000);
  talk.machine.configWrite(1, 0x10, 0xf000_0000);
  talk.machine.configWrite(1, 0x04, 2, 2);
  talk.configRead(0x10, 4, 1);
  talk.say("the window moves away, and takes the BAR's range with it");
  talk.config(0x20, 0xf010_f010);
  talk.say("bus 2 instead of 1");
  talk.config(0x18, 0x0002_0200);
  talk.end("pci-bridge");
});

test("pcie-root-port", () => {
  const talk = new Conversation(pcieRootPort, { slot: 3 }, [counter]);
  const [port] = talk.machine.tree.functions;
  talk.say("slot 3; something is in it, its link is active");
  talk.configRead(0x74);
  talk.configRead(0x7a, 2);
  talk.configRead(0x72, 2);
  talk.say("interrupts for button, presence and link");
  talk.config(0x78, 0x11e9, 2);
  talk.say("somebody wants the device back: the button is pressed");
  talk.machine.engine.host(() => void port?.slot.request());
  talk.configRead(0x7a, 2);
  talk.config(0x7a, 0x0001, 2);
  talk.say("the guest lets go, and switches the slot off");
  talk.config(0x78, 0x15e9, 2);
  talk.configRead(0x7a, 2);
  talk.configRead(0x72, 2);
  talk.end("pcie-root-port");
});

test("q35-host", () => {
  const talk = new Conversation(q35Host);
  talk.say("CF8 keeps what is written, so configuration mechanism 1 is found");
  talk.port(0xcf8, 0x8000_0000, 4);
  talk.say("the ECAM window: on at 0xe0000000, then at 0xb0000000 with 64 buses, then off");
  talk.configRead(0x60);
  talk.config(0x60, 0xe000_0001);
  talk.config(0x60, 0xb000_0005);
  talk.config(0x60, 0xb000_0004);
  talk.end("q35-host");
});

test("every device of the list has a golden trace and a page in docs/devices", () => {
  for (const { name } of devices) {
    expect(readFileSync(`${GOLDEN}/${name}.trace`, "utf8").length).toBeGreaterThan(0);
    expect(readFileSync(`${GOLDEN}/../../docs/devices/${name}.md`, "utf8")).toContain(name);
  }
});
