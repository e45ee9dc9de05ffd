// SPDX-License-Identifier: MIT
/**
 * A guest that makes the accesses it is told to, on vCPU 0. Arguments:
 *
 *   access R4:GPA W2:GPA=VALUE I1:PORT O1:PORT=VALUE ...   each reported as a step, with the value read
 *   follow ADDRESS ADDRESS MOVES             a register that moves to and fro: never is it in neither place
 */

import type { GuestVcpu } from "../../src/sim/index.js";

const ALL_ONES = 0xffff_ffff;

export default (cpu: GuestVcpu): void => {
  if (cpu.id !== 0) return;
  const [what, ...words] = cpu.arguments;
  if (what === "access") for (const word of words) access(cpu, word);
  else follow(cpu, Number(words[0]), Number(words[1]), Number(words[2]));
};

function access(cpu: GuestVcpu, word: string): void {
  const [, direction, width, address, value] = /^([RWIO])(\d):(\w+)(?:=(\w+))?$/.exec(word) as string[];
  const at = Number(address);
  const bytes = Number(width) as 1 | 2 | 4;
  if (direction === "I") report(cpu, cpu.in(at, bytes));
  else if (direction === "O") report(cpu, cpu.out(at, bytes, Number(value)));
  else if (direction === "R") report(cpu, width === "8" ? cpu.read(at, 8) : cpu.read(at, bytes));
  else report(cpu, width === "8" ? cpu.write(at, 8, BigInt(value as string)) : cpu.write(at, bytes, Number(value)));
}

// biome-ignore lint/suspicious/noConfusingVoidType: what a write gives
function report(cpu: GuestVcpu, value: number | bigint | void): void {
  cpu.step("accessed", { value: value ?? null, answered: cpu.answered });
}

function follow(cpu: GuestVcpu, first: number, second: number, moves: number): void {
  let [here, there] = [first, second];
  for (let move = 0; move < moves; move += 1) {
    cpu.step("here");
    while (cpu.read(here, 4) !== ALL_ONES);
    if (cpu.read(there, 4) === ALL_ONES) throw new Error(`after ${move} moves the register is in neither place`);
    [here, there] = [there, here];
  }
}
