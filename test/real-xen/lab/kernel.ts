// SPDX-License-Identifier: MIT
/** Debian's kernel: the ELF image inside its bzImage, and modules with what they depend on. */

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { IoreqdError } from "../../../src/base/errors.js";
import { command } from "./command.js";

const PACKERS: ReadonlyArray<{ magic: string; unpack: (packed: Buffer) => Buffer | Promise<Buffer> }> = [
  { magic: "1f8b", unpack: gunzipSync },
  { magic: "fd377a585a00", unpack: (input) => command("xz", ["-dc", "--single-stream"], { input }) },
  { magic: "28b52ffd", unpack: (input) => command("zstd", ["-dcq"], { input }) },
];

/**
 * The kernel proper. Xen can boot a bzImage too, but would unpack it inside the emulation.
 * Source: Linux Documentation/arch/x86/boot.rst (setup_sects, payload_offset, payload_length).
 */
export async function vmlinuxOf(bzImage: string): Promise<Buffer> {
  const image = readFileSync(bzImage);
  if (image.toString("latin1", 0x202, 0x206) !== "HdrS") throw notAKernel(bzImage, "there is no HdrS at 0x202");
  const start = ((image[0x1f1] || 4) + 1) * 512 + image.readUInt32LE(0x248);
  const end = start + image.readUInt32LE(0x24c);
  // The last four bytes are the unpacked size, which is not part of the stream.
  const packed = image.subarray(start, end - 4);
  const packer = PACKERS.find(({ magic }) => packed.subarray(0, magic.length / 2).toString("hex") === magic);
  if (packer === undefined) throw notAKernel(bzImage, `unknown packing ${packed.subarray(0, 6).toString("hex")}`);
  return packer.unpack(packer.magic === "1f8b" ? image.subarray(start, end) : packed);
}

function notAKernel(file: string, why: string): IoreqdError {
  return new IoreqdError("LAB_KERNEL_UNKNOWN", `${file} is not a kernel that the lab can take apart: ${why}`);
}

/** Modules of one kernel package unpacked below `root`. */
export class Modules {
  readonly release: string;
  readonly #folder: string;
  readonly #needs = new Map<string, readonly string[]>();
  readonly #files = new Map<string, string>();

  private constructor(root: string) {
    const modules = ["usr/lib/modules", "lib/modules"].map((name) => path.join(root, name)).find(existsSync);
    const release = modules === undefined ? undefined : readdirSync(modules)[0];
    if (modules === undefined || release === undefined) {
      throw new IoreqdError("LAB_KERNEL_UNKNOWN", `${root} holds no lib/modules/RELEASE`);
    }
    this.release = release;
    this.#folder = path.join(modules, release);
  }

  static async open(root: string): Promise<Modules> {
    const modules = new Modules(root);
    const folder = modules.#folder;
    // depmod looks below BASE/lib/modules, or BASE/usr/lib/modules, as its distribution has it: `-b` of what is above.
    await command("depmod", ["-b", path.resolve(folder, "../../.."), modules.release]);
    for (const line of readFileSync(path.join(folder, "modules.dep"), "utf8").split("\n")) {
      const [file, needs] = line.split(":");
      if (file === undefined || file === "" || needs === undefined) continue;
      modules.#files.set(moduleName(file), file);
      modules.#needs.set(file, needs.trim() === "" ? [] : needs.trim().split(" "));
    }
    return modules;
  }

  /** Copy modules, what they need and the index for modprobe to `root`/lib/modules. What is built in is left out. */
  async copy(names: readonly string[], root: string): Promise<void> {
    const target = path.join(root, "lib/modules", this.release);
    mkdirSync(target, { recursive: true });
    for (const name of ["modules.order", "modules.builtin", "modules.builtin.modinfo"]) {
      copyFileSync(path.join(this.#folder, name), path.join(target, name));
    }
    const builtIn = new Set(readFileSync(path.join(target, "modules.builtin"), "utf8").split("\n").map(moduleName));
    for (const name of names.map(moduleName)) {
      const file = this.#files.get(name);
      if (file !== undefined) {
        for (const one of [file, ...(this.#needs.get(file) ?? [])]) await this.#copyOne(one, target);
      } else if (!builtIn.has(name)) {
        throw new IoreqdError("LAB_KERNEL_UNKNOWN", `Linux ${this.release} has no module ${name}`);
      }
    }
    await command("depmod", ["-b", root, this.release]);
  }

  /** Plain .ko files: neither busybox nor every kernel unpacks them. */
  async #copyOne(file: string, target: string): Promise<void> {
    const source = path.join(this.#folder, file);
    const copy = path.join(target, file.replace(/\.ko\..*$/, ".ko"));
    mkdirSync(path.dirname(copy), { recursive: true });
    if (file.endsWith(".ko")) copyFileSync(source, copy);
    else writeFileSync(copy, await command(file.endsWith(".xz") ? "xz" : "zstd", ["-dcq", source]));
  }
}

function moduleName(file: string): string {
  return path
    .basename(file)
    .replace(/\.ko(\..*)?$/, "")
    .replaceAll("-", "_");
}
