// SPDX-License-Identifier: MIT
/** One PCI function: its configuration space, its BARs, its line, its device code. */

import { formatSbdf, type Sbdf } from "../base/ids.js";
import type { Access } from "../bus/access.js";
import type { Region, Target } from "../bus/address-map.js";
import { RegisterBlock } from "../bus/block.js";
import { type Register, registersOf } from "../bus/register.js";
import { BAR, CAPABILITY, COMMAND, CONFIG, POWER, STATUS } from "../spec/pci.js";
import type { Arena } from "../state/arena.js";
import { fieldsOf, placeFields } from "../state/fields.js";
import { registersAt } from "./capability.js";
import type { BarTable, Intx } from "./define.js";
import { barAddress } from "./header.js";
import { Messages, type SendMessage } from "./messages.js";
import type { FunctionPlan } from "./plan.js";
import type { DeviceRights } from "./rights.js";
import { Rom } from "./rom.js";
import { TimerSet } from "./timers.js";

interface DecodedBar {
  readonly label: string;
  readonly table: Pick<BarTable, "space" | "size">;
  readonly target: Target;
  /** Offset of the address register in configuration space, and whether a high half follows. */
  readonly at: number;
  readonly isRom: boolean;
}

/** What changed since the tree last looked; see PciTree.flush(). */
export interface Changes {
  /** A function came, went, or has another address. */
  functions: boolean;
  decode: boolean;
  intx: boolean;
  /** Something may be there to send. */
  messages: boolean;
}

export class PciFunction {
  readonly sbdf: Sbdf;
  readonly label: string;
  readonly plan: FunctionPlan;
  readonly config: RegisterBlock;
  readonly configSize: number;
  readonly timers: TimerSet;
  readonly messages: Messages;
  readonly #arena: Arena;
  readonly #bars: DecodedBar[] = [];
  readonly #blocks: ReadonlyArray<{ index: number; block: RegisterBlock }>;
  readonly #intxWord: number;
  readonly #changes: Changes;
  /** Byte offset of the power management control register, or null. */
  readonly #power: number | null;

  constructor(plan: FunctionPlan, arena: Arena, access: Access, changes: Changes) {
    this.plan = plan;
    this.sbdf = plan.sbdf;
    this.label = `${formatSbdf(plan.sbdf)} ${plan.device.name}`;
    this.#arena = arena;
    this.#changes = changes;
    this.#intxWord = (arena.dataAt + plan.at.intx) >>> 2;
    this.config = new RegisterBlock(`${plan.device.name} config`, plan.tables.config, arena, plan.at.config, access);
    this.configSize = plan.tables.config.size;
    this.timers = new TimerSet(plan.device.timers ?? [], arena, plan.at.timers);
    this.#blocks = plan.tables.bars.map(([index, table]) => {
      const name = `bar${index}`;
      const block = new RegisterBlock(
        `${plan.device.name} ${name}`,
        table,
        arena,
        plan.at.bars[index] as number,
        access,
      );
      this.#bars.push({
        label: `${this.label} ${name}`,
        table,
        target: block,
        at: CONFIG.bar0 + index * 4,
        isRom: false,
      });
      return { index, block };
    });
    if (plan.rom.length > 0) {
      const table = { space: "mem32", size: plan.romSize } as const;
      this.#bars.push({ label: `${this.label} rom`, table, target: new Rom(plan.rom), at: CONFIG.rom, isRom: true });
    }
    this.messages = new Messages(
      plan.tables.capabilities,
      this.config,
      (index) => this.#block(index),
      arena.dataAt + plan.at.messages,
      () => this.busMaster,
      () => {
        changes.messages = true;
      },
    );
    this.#power = this.#placeOfPower();
  }

  /** Every register at its reset value, declared state zero, no timer running, the line low. Within a transaction. */
  reset(): void {
    this.config.reset();
    for (const { block } of this.#blocks) block.reset();
    const state = this.#arena.dataAt + this.plan.at.state;
    const { length } = placeFields(this.plan.device.state ?? {});
    for (let at = 0; at < length; at += 4) this.#arena.setWord((state + at) >>> 2, 0);
    this.#arena.setWord(this.#intxWord, 0);
    this.#arena.setWord((this.#arena.dataAt + this.plan.at.messages) >>> 2, 0);
    this.timers.reset();
    this.#everythingChanged();
  }

  /** Run the device's own code, once. */
  attach(rights: DeviceRights): void {
    const { device, options } = this.plan;
    // A write to configuration space is applied whole before anyone looks at BARs or the line.
    this.config.afterWrite = () => this.#everythingChanged();
    this.#attachCapabilities();
    this.timers.runWith(rights.host);
    device.attach?.({
      bars: Object.fromEntries(this.#blocks.map(({ index, block }) => [index, registersOf(block)])),
      config: registersOf(this.config),
      state: fieldsOf(device.state ?? {}, this.#arena, this.#arena.dataAt + this.plan.at.state),
      timers: this.timers.byName,
      options,
      intx: this.#intx(),
      msi: this.messages,
      dma: rights.dma(this),
      log: rights.log(this),
      host: rights.host,
      chardev: (option) => rights.chardev(this, String(options[option] ?? "null")),
    });
  }

  /** Beyond its end configuration space reads as all ones, and takes nothing. Offset unsigned. */
  readConfig(offset: number, width: number): number {
    if (offset <= this.configSize - width) return this.config.read(offset, width);
    let value = -1;
    for (let i = 0; offset + i < this.configSize; i += 1) {
      value = (value & ~(0xff << (i * 8))) | (this.config.read(offset + i, 1) << (i * 8));
    }
    return value;
  }

  writeConfig(offset: number, width: number, value: number): void {
    if (offset <= this.configSize - width) {
      this.config.write(offset, width, value);
      return;
    }
    for (let i = 0; offset + i < this.configSize; i += 1) this.config.write(offset + i, 1, (value >>> (i * 8)) & 0xff);
  }

  /** In D3hot only configuration space answers. Source: PCI Power Management 1.2, 5.4.1. */
  get poweredDown(): boolean {
    return this.#power !== null && (this.#arena.load(this.#power, 2) & POWER.stateMask) === POWER.d3hot;
  }

  /** Does COMMAND let it be a bus master? */
  get busMaster(): boolean {
    return (this.config.read(CONFIG.command, 2) & COMMAND.busMaster) !== 0 && !this.poweredDown;
  }

  /** The pin is pulled: the device asks for it, nothing forbids it and no messages replace it. Source: PCI 3.0 6.2.2 bit 10, 6.8.3.3. */
  get intxAsserted(): boolean {
    const raised = this.#arena.i32[this.#intxWord] !== 0;
    if (!raised || (this.config.read(CONFIG.command, 2) & COMMAND.intxDisable) !== 0) return false;
    return !this.messages.enabled && !this.poweredDown;
  }

  /** Send the messages that wait and may go: they are writes of a bus master. */
  deliver(send: SendMessage): void {
    this.messages.deliver(send);
  }

  /** The regions it decodes now, by COMMAND and its BARs. */
  regions(space: "pio" | "mmio"): Region[] {
    const command = this.config.read(CONFIG.command, 2);
    const enabled = (command & (space === "pio" ? COMMAND.io : COMMAND.memory)) !== 0;
    if (!enabled || this.poweredDown) return [];
    return this.#bars
      .filter((bar) => (bar.table.space === "io") === (space === "pio"))
      .flatMap((bar): Region[] => {
        const base = this.#address(bar);
        return base === null ? [] : [{ base, size: bar.table.size, target: bar.target, label: bar.label }];
      });
  }

  #everythingChanged(): void {
    this.#changes.decode = true;
    this.#changes.intx = true;
    this.#changes.messages = true;
  }

  /** Each capability's own code, with its registers by the names it gave them. */
  #attachCapabilities(): void {
    const all = registersOf(this.config) as Record<string, Register>;
    for (const { capability } of this.plan.tables.capabilities) {
      const names = Object.keys(registersAt(capability, this.plan.standing));
      const registers = Object.fromEntries(names.map((name) => [name, all[`${capability.name}_${name}`] as Register]));
      capability.attach?.({ registers, reset: () => this.reset() });
    }
  }

  #block(index: number): RegisterBlock {
    return this.#blocks.find((one) => one.index === index)?.block as RegisterBlock;
  }

  #placeOfPower(): number | null {
    const power = this.plan.tables.capabilities.find(({ capability }) => capability.id === CAPABILITY.power);
    return power === undefined ? null : this.config.placeNamed(`${power.capability.name}_CONTROL`);
  }

  #address(bar: DecodedBar): number | null {
    const low = this.config.read(bar.at, 4);
    if (bar.isRom && (low & BAR.romEnable) === 0) return null;
    const high = bar.table.space === "mem64" ? this.config.read(bar.at + 4, 4) : 0;
    return barAddress(bar.table, low, high);
  }

  #intx(): Intx {
    const arena = this.#arena;
    const word = this.#intxWord;
    const status = registersOf(this.config)["STATUS"] as Register;
    const set = (level: 0 | 1): void => {
      if (arena.i32[word] === level) return;
      arena.setWord(word, level);
      status.value = level === 1 ? status.value | STATUS.interrupt : status.value & ~STATUS.interrupt;
      this.#changes.intx = true;
    };
    return {
      raise: () => set(1),
      lower: () => set(0),
      get raised() {
        return arena.i32[word] !== 0;
      },
    };
  }
}
