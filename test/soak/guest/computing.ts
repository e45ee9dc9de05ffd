// SPDX-License-Identifier: MIT
/** edu: computations and transfers that end while nobody waits, and its interrupt line. */

import { EDU, EDU_DMA, EDU_STATUS } from "../../guest-suite/edu.js";
import { AT, BARS } from "../places.js";
import { equal, type Machine, must, type Witness } from "./machine.js";

const [{ at: BASE }] = BARS.edu;
const CARD_BYTES = 4096;
/** Behind what rep instructions use. */
const [FROM, TO] = [0x4000, 0x8000] as const;

export function computing({ vcpu, random, buffer }: Machine): Witness {
  const gsi = vcpu.gsiOf(Number.parseInt(AT.edu.slice(3, 5), 16), 0);
  const edgesBefore = vcpu.gsiEdges(gsi);
  let [factorials, bytes, interrupts] = [0, 0, 0];
  const read = (at: number): number => vcpu.read(BASE + at, 4);
  const write = (at: number, value: number): void => vcpu.write(BASE + at, 4, value);

  /** The line is up because of this, and goes down when it is acknowledged. */
  function interrupted(bits: number): void {
    interrupts += 1;
    must(vcpu.gsiLevel(gsi), "edu's line is low while it interrupts");
    equal(read(EDU.irqStatus), bits, "edu's reasons to interrupt");
    must(vcpu.gsiLevel(gsi), "edu's line went low before it was acknowledged");
    write(EDU.irqAck, bits);
    must(!vcpu.gsiLevel(gsi), "edu's line stays high after it was acknowledged");
    equal(read(EDU.irqStatus), 0, "edu's reasons to interrupt, all acknowledged");
  }
  function compute(): void {
    const n = random.between(1, 12);
    const interrupt = random.between(0, 1) === 1;
    write(EDU.status, interrupt ? EDU_STATUS.interrupt : 0);
    write(EDU.factorial, n);
    while ((read(EDU.status) & EDU_STATUS.computing) !== 0); // it takes a millisecond, or until the next process serves
    let expected = 1;
    for (let i = 2; i <= n; i += 1) expected *= i;
    equal(read(EDU.factorial), expected, `${n}!`);
    factorials += 1;
    if (interrupt) interrupted(0x001);
  }
  function transfer(from: number, to: number, length: number, command: number): void {
    vcpu.write(BASE + EDU.dmaFrom, 8, BigInt(from));
    vcpu.write(BASE + EDU.dmaTo, 8, BigInt(to));
    vcpu.write(BASE + EDU.dmaLength, 8, BigInt(length));
    const interrupt = random.between(0, 1) === 1 ? EDU_DMA.interrupt : 0;
    write(EDU.dmaCommand, EDU_DMA.run | command | interrupt);
    while ((read(EDU.dmaCommand) & EDU_DMA.run) !== 0);
    if (interrupt !== 0) interrupted(0x100);
    bytes += length;
  }
  /** To the card and back, to another place. */
  function copy(): void {
    const length = random.between(1, CARD_BYTES);
    const card = EDU.buffer + random.between(0, CARD_BYTES - length);
    const sent = Uint8Array.from({ length }, () => random.word());
    vcpu.ramWrite(buffer + FROM, sent);
    vcpu.ramWrite(buffer + TO, new Uint8Array(length + 1));
    transfer(buffer + FROM, card, length, 0);
    transfer(card, buffer + TO, length, EDU_DMA.toGuest);
    const back = vcpu.ramRead(buffer + TO, length + 1);
    sent.forEach((byte, i) => {
      equal(back[i] as number, byte, `byte ${i} of ${length} that edu has copied`);
    });
    equal(back[length] as number, 0, `the byte behind ${length} that edu has copied`);
  }
  function raise(): void {
    const bits = random.between(1, 0xffff) << 9;
    write(EDU.irqRaise, bits);
    interrupted(bits);
  }
  function alive(): void {
    const value = random.word();
    write(EDU.live, value);
    equal(read(EDU.live), ~value >>> 0, "edu's LIVE");
  }

  return {
    round: () => random.pick([compute, copy, raise, alive])(),
    finish() {
      equal(vcpu.gsiEdges(gsi) - edgesBefore, interrupts, "how often edu's line rose");
      return { factorials, "bytes by DMA": bytes, "line interrupts": interrupts };
    },
  };
}
