// SPDX-License-Identifier: MIT
/** Plays a device a script of accesses and writes the conversation down, for golden files. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sbdf } from "../../src/base/ids.js";
import type { PciDevice } from "../../src/pci/define.js";
import { Machine, MEMORY, PORTS } from "../support/machine.js";

/** Golden files stand with the sources, not with what is compiled. */
export const GOLDEN = join(__dirname, "..", "..", "..", "test", "golden");

export class Conversation {
  readonly machine: Machine;
  readonly #lines: string[] = [];

  /** `behind`: what stands behind the device, which is a bridge then. */
  constructor(device: PciDevice, options: Record<string, string | number> = {}, behind: readonly PciDevice[] = []) {
    const below = behind.map((one, index) => ({ device: one, sbdf: sbdf(0, 0, index, 0), bus: "bridge" }));
    this.machine = new Machine([{ device, options, id: "bridge" }, ...below]);
    this.machine.place();
  }

  say(remark: string): void {
    this.#lines.push("", `# ${remark}`);
  }

  r(bar: number, offset: number, width: 1 | 2 | 4 = 4): number {
    const [at, type] = this.#place(bar, offset);
    const value = type === "io" ? this.machine.in(at, width) : this.machine.read(at, width);
    this.#lines.push(`R bar${bar}+0x${offset.toString(16)}/${width} = 0x${value.toString(16)}`);
    this.#effects();
    return value;
  }

  w(bar: number, offset: number, value: number, width: 1 | 2 | 4 = 4): void {
    const [at, type] = this.#place(bar, offset);
    this.#lines.push(`W bar${bar}+0x${offset.toString(16)}/${width} = 0x${(value >>> 0).toString(16)}`);
    if (type === "io") this.machine.out(at, value, width);
    else this.machine.write(at, value, width);
    this.#effects();
  }

  /** A write of configuration space. */
  config(offset: number, value: number, width: 1 | 2 | 4 = 4): void {
    this.#lines.push(`W config+0x${offset.toString(16)}/${width} = 0x${(value >>> 0).toString(16)}`);
    this.machine.configWrite(0, offset, value, width);
    this.#effects();
  }

  configRead(offset: number, width: 1 | 2 | 4 = 4, fn = 0): void {
    const value = this.machine.configRead(fn, offset, width);
    const whose = fn === 0 ? "" : ` of ${this.machine.tree.functions[fn]?.plan.path}`;
    this.#lines.push(`R config+0x${offset.toString(16)}/${width}${whose} = 0x${value.toString(16)}`);
    this.#effects();
  }

  port(port: number, value: number, width: 1 | 2 | 4): void {
    this.#lines.push(`W port 0x${port.toString(16)}/${width} = 0x${(value >>> 0).toString(16)}`);
    this.machine.out(port, value, width);
    this.#lines.push(`R port 0x${port.toString(16)}/${width} = 0x${this.machine.in(port, width).toString(16)}`);
    this.#effects();
  }

  /** Wait for a timer of the device: until `changed` says so. */
  async until(what: string, changed: () => boolean): Promise<void> {
    while (!changed()) await new Promise((resolve) => setImmediate(resolve));
    this.#lines.push(`~ ${what}`);
    this.#effects();
  }

  receive(text: string): void {
    const taken = this.machine.receive(Buffer.from(text));
    this.#lines.push(`< ${JSON.stringify(text.slice(0, taken))}`);
    this.#effects();
  }

  /** What the device did, as seen from outside. */
  #effects(): void {
    for (const line of this.machine.asked.splice(0)) this.#lines.push(`  ${line}`);
    for (const line of this.machine.said.splice(0)) this.#lines.push(`  says: ${line}`);
    const sent = this.machine.sent.splice(0);
    if (sent.length > 0) this.#lines.push(`  > ${JSON.stringify(Buffer.from(sent).toString("latin1"))}`);
  }

  #place(bar: number, offset: number): [at: number, type: "io" | "memory"] {
    const table = this.machine.tree.functions[0]?.plan.device.bars as Record<number, { space: string }>;
    return table[bar]?.space === "io"
      ? [PORTS + bar * 0x100 + offset, "io"]
      : [MEMORY + bar * 0x0100_0000 + offset, "memory"];
  }

  /** Compare with test/golden/NAME.trace. GOLDEN=write writes it anew: read the diff before you commit it. */
  end(name: string): void {
    this.machine.end();
    compareWithGolden(`${name}.trace`, `${this.#lines.join("\n").trim()}\n`);
  }
}

export function compareWithGolden(name: string, text: string): void {
  const path = join(GOLDEN, name);
  if (process.env["GOLDEN"] === "write") writeFileSync(path, text);
  expect(text).toBe(readFileSync(path, "utf8"));
}
