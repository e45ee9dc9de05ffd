// SPDX-License-Identifier: MIT
/** What a function decodes: its BARs and ROM where COMMAND and their registers put them, and ports of the PC. */

import type { Region, Target } from "../bus/address-map.js";
import type { RegisterBlock } from "../bus/block.js";
import { BAR, BRIDGE, COMMAND, CONFIG } from "../spec/pci.js";
import type { BarTable, PortsTable } from "./define.js";
import { barAddress } from "./header.js";
import type { FunctionPlan } from "./plan.js";
import { Rom } from "./rom.js";

export type Space = "pio" | "mmio";

interface DecodedBar {
  readonly label: string;
  readonly table: Pick<BarTable, "space" | "size">;
  readonly target: Target;
  /** Offset of the address register in configuration space, and whether a high half follows. */
  readonly at: number;
  readonly isRom: boolean;
}

/** The same place, where nobody answers. */
export const silent = (region: Region): Region => ({ ...region, target: new Silence(region.target) });

class Silence implements Target {
  readonly #silenced: Target;

  constructor(silenced: Target) {
    this.#silenced = silenced;
  }

  read(): number {
    return -1;
  }

  write(): void {}

  accepts(): boolean {
    return true;
  }

  /** Whom it would have been for. */
  nameAt(offset: number, width: number): string {
    return this.#silenced.nameAt(offset, width);
  }
}

export class Decoder {
  readonly #config: RegisterBlock;
  readonly #bars: readonly DecodedBar[];
  readonly #ports: readonly Region[];

  constructor(
    label: string,
    plan: FunctionPlan,
    config: RegisterBlock,
    bars: ReadonlyArray<{ readonly index: number; readonly block: RegisterBlock }>,
    ports: ReadonlyArray<{ readonly name: string; readonly block: RegisterBlock }>,
  ) {
    this.#config = config;
    const decoded = bars.map(({ index, block }): DecodedBar => {
      const table = plan.tables.bars.find(([one]) => one === index)?.[1] as BarTable;
      return { label: `${label} bar${index}`, table, target: block, at: CONFIG.bar0 + index * 4, isRom: false };
    });
    if (plan.rom.length > 0) {
      const table = { space: "mem32", size: plan.romSize } as const;
      const at = plan.device.bridge === undefined ? CONFIG.rom : BRIDGE.rom;
      decoded.push({ label: `${label} rom`, table, target: new Rom(plan.rom), at, isRom: true });
    }
    this.#bars = decoded;
    this.#ports = ports.map(({ name, block }): Region => {
      const { at, size } = (plan.device.ports as Record<string, PortsTable>)[name] as PortsTable;
      return { base: at, size, target: block, label: `${label} ${name}` };
    });
  }

  /** By COMMAND and the address registers. */
  regions(space: Space): Region[] {
    const fixed = space === "pio" ? this.#ports : [];
    const command = this.#config.read(CONFIG.command, 2);
    if ((command & (space === "pio" ? COMMAND.io : COMMAND.memory)) === 0) return [...fixed];
    const bars = this.#bars
      .filter((bar) => (bar.table.space === "io") === (space === "pio"))
      .flatMap((bar): Region[] => {
        const base = this.#address(bar);
        return base === null ? [] : [{ base, size: bar.table.size, target: bar.target, label: bar.label }];
      });
    return [...fixed, ...bars];
  }

  #address(bar: DecodedBar): number | null {
    const low = this.#config.read(bar.at, 4);
    if (bar.isRom && (low & BAR.romEnable) === 0) return null;
    const high = bar.table.space === "mem64" ? this.#config.read(bar.at + 4, 4) : 0;
    return barAddress(bar.table, low, high);
  }
}
