// SPDX-License-Identifier: MIT
/** One PCI function: its configuration space, its BARs, its line, its device code. */

import { type Sbdf, sbdf } from "../base/ids.js";
import type { Access } from "../bus/access.js";
import type { Interval, Region } from "../bus/address-map.js";
import { RegisterBlock } from "../bus/block.js";
import { type Register, registersOf } from "../bus/register.js";
import { BRIDGE_CONTROL, CAPABILITY, COMMAND, CONFIG, MULTI_FUNCTION, POWER } from "../spec/pci.js";
import type { Arena } from "../state/arena.js";
import { fieldsOf, placeFields } from "../state/fields.js";
import { Bridge, through } from "./bridge.js";
import { registersAt } from "./capability.js";
import { Decoder, type Space, silent } from "./decode.js";
import { FunctionState } from "./function-state.js";
import { Messages, type SendMessage } from "./messages.js";
import type { FunctionPlan } from "./plan.js";
import { chardevRequest, type DeviceRights, rightsWhile } from "./rights.js";
import { BridgeSlot } from "./slot.js";
import { TimerSet } from "./timers.js";

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
  readonly label: string;
  readonly plan: FunctionPlan;
  /** The bridge it is behind; null on a root bus. */
  readonly parent: PciFunction | null;
  /** What is behind it, if it is a bridge, in the order of addresses. */
  readonly children: PciFunction[] = [];
  /** Null for what is no bridge. */
  readonly bridge: Bridge | null;
  readonly config: RegisterBlock;
  readonly configSize: number;
  readonly timers: TimerSet;
  readonly messages: Messages;
  readonly slot = new BridgeSlot(
    () => this.children.length > 0,
    () => this.resetBehind(),
  );
  /** Where configuration accesses reach it now; null while a bridge above has no bus number for it. */
  sbdf: Sbdf | null;
  readonly state: FunctionState;
  /** Out of the guest's reach, in quarantine itself or behind a bridge that is: reads as all-ones, takes nothing. */
  isolated = false;
  readonly #arena: Arena;
  readonly #decoder: Decoder;
  readonly #bars: ReadonlyArray<{ index: number; block: RegisterBlock }>;
  readonly #ports: ReadonlyArray<{ name: string; block: RegisterBlock }>;
  readonly #changes: Changes;
  /** Byte offset of the power management control register, or null. */
  readonly #power: number | null;
  #removed = false;
  #attached = false;

  constructor(plan: FunctionPlan, parent: PciFunction | null, arena: Arena, access: Access, changes: Changes) {
    const { device, tables, at } = plan;
    this.plan = plan;
    this.parent = parent;
    if (parent !== null) parent.#add(this);
    this.sbdf = plan.root;
    this.label = `${plan.path} ${device.name}`;
    this.#arena = arena;
    this.#changes = changes;
    this.state = new FunctionState(arena, at.function);
    this.checkIsolation();
    this.config = new RegisterBlock(`${device.name} config`, tables.config, arena, at.config, access);
    this.configSize = tables.config.size;
    this.bridge = device.bridge === undefined ? null : new Bridge(this.config, device.bridge);
    this.timers = new TimerSet(device.timers ?? [], arena, at.timers);
    this.#bars = tables.bars.map(([index, table]) => {
      const name = `${device.name} bar${index}`;
      return { index, block: new RegisterBlock(name, table, arena, at.bars[index] as number, access) };
    });
    this.#ports = Object.entries(device.ports ?? {}).map(([name, table]) => {
      return {
        name,
        block: new RegisterBlock(`${device.name} ${name}`, table, arena, at.ports[name] as number, access),
      };
    });
    this.#decoder = new Decoder(this.label, plan, this.config, this.#bars, this.#ports);
    this.messages = new Messages(
      tables.capabilities,
      this.config,
      (index) => this.#bars.find((bar) => bar.index === index)?.block as RegisterBlock,
      arena.dataAt + at.messages,
      () => this.busMaster,
      () => {
        changes.messages = true;
      },
    );
    const power = tables.capabilities.find(({ capability }) => capability.id === CAPABILITY.power)?.capability;
    this.#power = power === undefined ? null : this.config.placeNamed(`${power.name}_CONTROL`);
  }

  /** As after power-on: every register at its reset value, declared state zero, no timer running, the line low. Within a transaction. */
  reset(): void {
    for (const block of this.#blocks) block.reset();
    const state = this.#arena.dataAt + this.plan.at.state;
    const { length } = placeFields(this.plan.device.state ?? {});
    for (let at = 0; at < length; at += 4) this.#arena.setWord((state + at) >>> 2, 0);
    this.state.reset();
    this.#arena.setWord((this.#arena.dataAt + this.plan.at.messages) >>> 2, 0);
    this.timers.reset();
    this.#everythingChanged();
  }

  /** A reset the guest asks for. What other functions the device has is not its doing. Within a transaction. */
  resetFunction(): void {
    const { multiFunction } = this;
    this.reset();
    this.multiFunction = multiFunction;
  }

  /** Whether the header says that the device has other functions. Set within a transaction. */
  get multiFunction(): boolean {
    return (this.#arena.load(this.#headerType, 1) & MULTI_FUNCTION) !== 0;
  }

  set multiFunction(value: boolean) {
    const type = this.#arena.load(this.#headerType, 1) & ~MULTI_FUNCTION;
    this.#arena.store(this.#headerType, 1, value ? type | MULTI_FUNCTION : type);
  }

  /** The function above comes first. */
  checkIsolation(): void {
    this.isolated = this.state.quarantined || this.parent?.isolated === true;
  }

  /** Names its work in the records of the arena; never 0. */
  get subject(): number {
    return this.plan.at.function;
  }

  /** It has left the tree, and its places with it: whatever its code has under way happens nowhere. */
  remove(): void {
    this.#removed = true;
    this.timers.detach();
    const { children = [] } = this.parent ?? {};
    if (children.includes(this)) children.splice(children.indexOf(this), 1);
  }

  /** All-ones for the vCPUs that wait for a register of this function; replaced, it has another in its place to ask. */
  abandonLate(access: Access, replaced = false): void {
    for (const block of [this.config, ...[...this.#bars, ...this.#ports].map((one) => one.block)])
      replaced ? access.replace(block) : access.abandon(block);
  }

  /** Run the device's own code, once; not while it is in quarantine: then after that. */
  attach(given: DeviceRights): void {
    if (this.#attached || this.state.quarantined) return;
    const { device, options } = this.plan;
    const rights = rightsWhile(() => !this.#removed && !this.state.quarantined, given, this.subject);
    // A write to configuration space is applied whole before anyone looks at BARs or the line.
    this.config.afterWrite = () => this.#everythingChanged();
    this.#attachCapabilities();
    if (this.bridge !== null) this.#attachBridge();
    this.timers.runWith(rights.host);
    device.attach?.({
      bars: Object.fromEntries(this.#bars.map(({ index, block }) => [index, registersOf(block)])),
      config: registersOf(this.config),
      state: fieldsOf(device.state ?? {}, this.#arena, this.#arena.dataAt + this.plan.at.state),
      timers: this.timers.byName,
      options,
      intx: this.state.line(registersOf(this.config)["STATUS"] as Register, () => {
        this.#changes.intx = true;
      }),
      msi: this.messages,
      slot: this.slot,
      dma: rights.dma(this),
      log: rights.log(this),
      host: rights.host,
      chardev: (option) => rights.chardev(this, chardevRequest(this.plan, this.#arena, option)),
    });
    this.#attached = true;
  }

  /** Beyond its end configuration space reads as all ones, and takes nothing. Offset unsigned. */
  readConfig(offset: number, width: number): number {
    if (this.isolated) return -1;
    if (offset <= this.configSize - width) return this.config.read(offset, width);
    let value = -1;
    for (let i = 0; offset + i < this.configSize; i += 1) {
      value = (value & ~(0xff << (i * 8))) | (this.config.read(offset + i, 1) << (i * 8));
    }
    return value;
  }

  writeConfig(offset: number, width: number, value: number): void {
    if (this.isolated) return;
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

  /** Does COMMAND let it be a bus master, and do the bridges above pass that on? */
  get busMaster(): boolean {
    if (this.isolated || (this.config.read(CONFIG.command, 2) & COMMAND.busMaster) === 0 || this.poweredDown)
      return false;
    return this.parent === null || this.parent.busMaster;
  }

  /** The pin is pulled: the device asks for it, nothing forbids it and no messages replace it. Source: PCI 3.0 6.2.2 bit 10, 6.8.3.3. */
  get intxAsserted(): boolean {
    if (this.isolated || !this.state.raised) return false;
    if ((this.config.read(CONFIG.command, 2) & COMMAND.intxDisable) !== 0) return false;
    return !this.messages.enabled && !this.poweredDown;
  }

  /** Send the messages that wait and may go: they are writes of a bus master. */
  deliver(send: SendMessage): void {
    this.messages.deliver(send);
  }

  /** The regions it decodes now, so far as the bridges above let accesses through. Nobody else gets them while it is isolated. */
  regions(space: Space): Region[] {
    const decoded = this.poweredDown ? [] : this.#decoder.regions(space);
    const regions = this.isolated ? decoded.map(silent) : decoded;
    const within = this.parent === null ? null : this.parent.passes(space);
    return within === null ? regions : regions.map((region) => ({ ...region, within }));
  }

  /** A bridge's windows, and of those what the bridges above let through. */
  passes(space: Space): Interval[] {
    if (this.bridge === null || this.poweredDown) return [];
    return through(this.parent === null ? null : this.parent.passes(space), this.bridge.windows(space));
  }

  /** Where a chipset's register puts the ECAM window; null: nowhere. */
  ecam(): { base: number; buses: number } | null {
    return this.plan.device.ecam?.(registersOf(this.config) as Record<string, Register>) ?? null;
  }

  /** Put a number on it, or take it away: which bus its bridge has. */
  moveTo(segment: number, bus: number | null): void {
    const { devfn } = this.plan;
    this.sbdf = bus === null ? null : sbdf(segment, bus, devfn >>> 3, devfn & 7);
  }

  #everythingChanged(): void {
    if (this.bridge !== null) this.#changes.functions = true;
    this.#changes.decode = true;
    this.#changes.intx = true;
    this.#changes.messages = true;
  }

  get #blocks(): RegisterBlock[] {
    return [this.config, ...[...this.#bars, ...this.#ports].map(({ block }) => block)];
  }

  get #headerType(): number {
    return this.config.placeNamed("HEADER_TYPE");
  }

  #add(child: PciFunction): void {
    this.children.push(child);
    this.children.sort((a, b) => a.plan.devfn - b.plan.devfn);
  }

  /** Each capability's own code, with its registers by the names it gave them. */
  #attachCapabilities(): void {
    const all = registersOf(this.config) as Record<string, Register>;
    for (const { capability } of this.plan.tables.capabilities) {
      const names = Object.keys(registersAt(capability, this.plan.standing));
      const registers = Object.fromEntries(names.map((name) => [name, all[`${capability.name}_${name}`] as Register]));
      capability.attach?.({ registers, reset: () => this.resetFunction() });
    }
  }

  /** The reset of the bus behind goes down to everything there. Source: PCI-to-PCI Bridge 1.2, 3.2.5.18. */
  #attachBridge(): void {
    const control = registersOf(this.config)["BRIDGE_CONTROL"] as Register;
    control.onWrite((_raw, _mask, before) => {
      if ((control.value & ~before & BRIDGE_CONTROL.busReset) !== 0) this.resetBehind();
    });
  }

  /** Within a transaction. */
  resetBehind(): void {
    for (const child of this.children) {
      child.resetFunction();
      child.resetBehind();
    }
  }
}
